"""The products of a steerable convolution in irreps, and the gradient of their weights, for GPUs, in Triton.

Maps lie in memory as [image, row, column, channel of a field (in irreps), field], so that a load takes one channel of
many fields. No response is ever written to memory. What belongs to a group and a kernel size is in tables (see
`tritonlayer.Tables`), so that one kernel serves all.
"""

# ruff: noqa: ANN001, ANN201, ANN202, N803 - what Triton compiles has no types, and constants in capitals
import triton
import triton.language as tl


@triton.jit
def _respond(x, terms, factors, begin, end, pixels, fields, pixels_in_all, height, width, in_size, in_fields):
    """A solution at some pixels [n, 1], counted through all images, of some fields [1, m]: float32[n, m].

    That is a weighted sum of channels at and around each pixel, which are 0 outside of the image.
    """
    row, column = pixels // width % height, pixels % width
    known = (pixels < pixels_in_all) & (fields < in_fields)
    total = tl.zeros((pixels.shape[0], fields.shape[1]), tl.float32)
    for term in range(begin, end):
        channel = tl.load(terms + 3 * term)
        down, right = tl.load(terms + 3 * term + 1), tl.load(terms + 3 * term + 2)
        inside = (row + down >= 0) & (row + down < height) & (column + right >= 0) & (column + right < width)
        place = ((pixels + down * width + right) * in_size + channel) * in_fields + fields
        values = tl.load(x + place, mask=inside & known, other=0.0)
        total += tl.load(factors + term) * values.to(tl.float32)
    return total


@triton.jit
def _places(components, component, outs, out_fields):
    """Where outputs [1, m] of a component lie in a pixel of the output."""
    first, step = tl.load(components + 5 * component + 2), tl.load(components + 5 * component + 3)
    return (first + outs // out_fields * step) * out_fields + outs % out_fields


@triton.jit
def multiply(
    x, weights, y, terms, factors, solutions, components,
    pixels_in_all, height, width, in_size, in_fields, out_size, out_fields,
    PIXELS: tl.constexpr, FIELDS: tl.constexpr, OUTS: tl.constexpr,
):  # fmt: skip
    """Makes y, the sum of weights times responses over fields and the solutions of a component.

    Grid: tiles of pixels, components, tiles of the outputs of a component.
    """
    component = tl.program_id(1)
    first, last = tl.load(components + 5 * component), tl.load(components + 5 * component + 1)
    many = tl.load(components + 5 * component + 4) * out_fields
    pixels = (tl.program_id(0).to(tl.int64) * PIXELS + tl.arange(0, PIXELS))[:, None]
    outs = (tl.program_id(2) * OUTS + tl.arange(0, OUTS))[None, :]
    total = tl.zeros((PIXELS, OUTS), tl.float32)
    for solution in range(first, last):
        begin, end = tl.load(solutions + 4 * solution), tl.load(solutions + 4 * solution + 1)
        of_solution = weights + tl.load(solutions + 4 * solution + 2) * in_fields * out_fields
        for start in range(0, in_fields, FIELDS):
            fields = start + tl.arange(0, FIELDS)
            response = _respond(
                x, terms, factors, begin, end, pixels, fields[None, :], pixels_in_all, height, width, in_size, in_fields
            )
            there = (fields[:, None] < in_fields) & (outs < many)
            weight = tl.load(of_solution + fields[:, None] * many + outs, mask=there, other=0.0)
            total = tl.dot(response.to(weight.dtype), weight, total, input_precision="ieee")
    place = pixels * out_size * out_fields + _places(components, component, outs, out_fields)
    tl.store(y + place, total.to(y.dtype.element_ty), mask=(pixels < pixels_in_all) & (outs < many))


@triton.jit
def correlate(
    x, slopes, sums, terms, factors, solutions, components,
    pixels_in_all, height, width, in_size, in_fields, out_size, out_fields, all_weights, pixels_of_part,
    PIXELS: tl.constexpr, FIELDS: tl.constexpr, OUTS: tl.constexpr,
):  # fmt: skip
    """Makes sums, the gradient of the weights of a solution over a part of the pixels: added up later, in one order.

    Grid: solutions, tiles of fields and of outputs (as one number), parts.
    """
    solution, part = tl.program_id(0), tl.program_id(2)
    begin, end = tl.load(solutions + 4 * solution), tl.load(solutions + 4 * solution + 1)
    before, component = tl.load(solutions + 4 * solution + 2), tl.load(solutions + 4 * solution + 3)
    many = tl.load(components + 5 * component + 4) * out_fields
    tiles = tl.cdiv(in_fields, FIELDS)
    fields = tl.program_id(1) % tiles * FIELDS + tl.arange(0, FIELDS)
    outs = (tl.program_id(1) // tiles * OUTS + tl.arange(0, OUTS))[None, :]
    places = _places(components, component, outs, out_fields)
    total = tl.zeros((FIELDS, OUTS), tl.float32)
    for start in range(0, pixels_of_part, PIXELS):
        pixels = (part.to(tl.int64) * pixels_of_part + start + tl.arange(0, PIXELS))[:, None]
        response = _respond(
            x, terms, factors, begin, end, pixels, fields[None, :], pixels_in_all, height, width, in_size, in_fields
        )
        there = (pixels < pixels_in_all) & (outs < many)
        slope = tl.load(slopes + pixels * out_size * out_fields + places, mask=there, other=0.0)
        total = tl.dot(tl.trans(response).to(slope.dtype), slope, total, input_precision="ieee")
    place = part * all_weights + before * in_fields * out_fields + fields[:, None] * many + outs
    tl.store(sums + place, total, mask=(fields[:, None] < in_fields) & (outs < many))
