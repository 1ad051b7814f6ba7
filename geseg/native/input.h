// The input of a layer, row by row, in irreps: copied, upsampled, or made by the layer before.
#ifndef GESEG_INPUT_H
#define GESEG_INPUT_H
#include "fourier.h"

// The numbers of half a row of the ring, in whole lines.
INLINE int half_pitch(const Work *w) { return (w->pitch / 2 + LINE - 1) / LINE * LINE; }

// Half a row of the ring, between two rows of half the resolution; its first number is column x0 / 2 - LINE / 2.
static void blend_rows(const Work *w, const REAL *f, const REAL *restrict near, const REAL *restrict far,
                       REAL *restrict out) {
    const int half = w->layer->width / 2, first = w->x0 / 2 - LINE / 2;
    const int to = half - first < w->pitch / 2 ? half - first : w->pitch / 2;
    memset(out, 0, half_pitch(w) * sizeof(REAL));
    const int from = first < 0 ? -first : 0;
    for (int i = from; i < to && f; i++)
        out[i] = (REAL)0.75 * rectify_one(f, near[first + i]) + (REAL)0.25 * rectify_one(f, far[first + i]);
    for (int i = from; i < to && !f; i++) out[i] = (REAL)0.75 * near[first + i] + (REAL)0.25 * far[first + i];
}

// From half a row to a whole one: 3/4 of the pixel that it lies in, 1/4 of the next one, or of itself at the edge.
static void spread_row(const Work *w, const REAL *restrict in, REAL *restrict out) {
    const int half = w->layer->width / 2, first = w->x0 / 2 - LINE / 2, many = w->pitch / 2;
    const int from = first < 0 ? -first : 0, to = half - first < many ? half - first : many;
    memset(out, 0, w->pitch * sizeof(REAL));
    for (int i = from + 1; i < to - 1; i++) {
        out[2 * i] = (REAL)0.75 * in[i] + (REAL)0.25 * in[i - 1];
        out[2 * i + 1] = (REAL)0.75 * in[i] + (REAL)0.25 * in[i + 1];
    }
    for (int side = 0; side < 2; side++) {
        const int i = side ? to - 1 : from;
        const REAL before = i > from ? in[i - 1] : in[i], after = i < to - 1 ? in[i + 1] : in[i];
        out[2 * i] = (REAL)0.75 * in[i] + (REAL)0.25 * before;
        out[2 * i + 1] = (REAL)0.75 * in[i] + (REAL)0.25 * after;
    }
}

static void fetch_upsampled(const Work *w, const Part *part, int size, int field, int y, REAL *row) {
    const int half = w->layer->height / 2;
    const int near = y / 2, other = y % 2 ? near + 1 : near - 1;
    const int far = other < 0 ? 0 : other >= half ? half - 1 : other;
    REAL *low = w->rows + (ptrdiff_t)size * w->pitch;
    for (int c = 0; c < size; c++) {
        const int channel = field * size + c;
        const REAL *one = at(&part->map, w->image, channel, near), *two = at(&part->map, w->image, channel, far);
        blend_rows(w, factors_of(part->factors, channel), one, two, w->rows + (ptrdiff_t)c * w->pitch);
    }
    to_irreps(size, w->layer->mirrored, w->rows, w->pitch, low, w->pitch, half_pitch(w));
    for (int p = 0; p < size; p++) spread_row(w, low + (ptrdiff_t)p * w->pitch, row + (ptrdiff_t)p * w->pitch);
}

// The columns that a strip needs of its input: its own and a line at either side, as far as there are any.
INLINE int first_needed(const Work *w) { return w->x0 > 0 ? w->x0 - LINE : 0; }
INLINE int end_needed(const Work *w) {
    const int right = w->x0 + w->width + LINE;
    return right < w->layer->width ? right : w->layer->width;
}

// Into irreps, whatever the width: what follows the last columns in memory is not read; as zero it fills their line of `out`.
static void row_to_irreps(const Work *w, int size, const REAL *in, ptrdiff_t channel, REAL *out, int width) {
    const int whole = width / LINE * LINE, rest = width - whole, mirrored = w->layer->mirrored;
    to_irreps(size, mirrored, in, channel, out, w->pitch, whole);
    if (!rest) return;
    for (int c = 0; c < size; c++) {
        memset(w->rows + c * LINE, 0, LINE * sizeof(REAL));
        memcpy(w->rows + c * LINE, in + c * channel + whole, rest * sizeof(REAL));
    }
    to_irreps(size, mirrored, w->rows, LINE, out + whole, w->pitch, LINE);
}

// A field whose channels are `channel` numbers apart, from the first column that is needed on.
static void fetch_field(const Work *w, int size, const REAL *in, ptrdiff_t channel, REAL *row) {
    const int from = first_needed(w), first = from - (w->x0 - LINE), width = end_needed(w) - from;
    const int end = first + (width + LINE - 1) / LINE * LINE;
    row_to_irreps(w, size, in, channel, row + first, width);
    for (int p = 0; p < size; p++, row += w->pitch) {
        memset(row, 0, first * sizeof(REAL));
        memset(row + end, 0, (w->pitch - end) * sizeof(REAL));
    }
}

// A row of a channel with factors, from the first column that is needed on, as it is read; as zero its rest fills a line.
static void read_row(const Work *w, const Part *part, int channel, int y, REAL *out) {
    const int from = first_needed(w), width = end_needed(w) - from, whole = width / LANES * LANES, rest = width - whole;
    const REAL *f = factors_of(part->factors, channel), *in = at(&part->map, w->image, channel, y) + from;
    const REAL *slope = part->slope.data ? at(&part->slope, w->image, channel, y) + from : NULL;
    for (int x = 0; x < whole; x += LANES)
        store(out + x, slope ? denormalise(f, load(in + x), load(slope + x)) : rectify(f, load(in + x)));
    if (width % LINE) memset(out + whole, 0, (LINE - whole % LINE) * sizeof(REAL));
    if (rest) {
        vec last = {0}, of_last = {0};
        memcpy(&last, in + whole, rest * sizeof(REAL));
        if (slope) memcpy(&of_last, slope + whole, rest * sizeof(REAL));
        last = slope ? denormalise(f, last, of_last) : rectify(f, last);
        memcpy(out + whole, &last, rest * sizeof(REAL));
    }
}

// Row y of a stack of fields with so many channels each, in irreps.
static void fetch_part(const Work *w, const Part *part, int size, int y, REAL *row) {
    const Map *map = &part->map;
    REAL *const read = w->rows + (ptrdiff_t)size * w->pitch;
    for (int field = 0; field < part->fields; field++, row += (ptrdiff_t)size * w->pitch) {
        if (part->upsampled) {
            fetch_upsampled(w, part, size, field, y, row);
        } else if (part->factors) {
            for (int c = 0; c < size; c++) read_row(w, part, field * size + c, y, read + c * w->pitch);
            fetch_field(w, size, read, w->pitch, row);
        } else {
            fetch_field(w, size, at(map, w->image, field * size, y) + first_needed(w), map->channel, row);
        }
    }
}

INLINE REAL *ring_row(const Work *w, int y) {
    const int k = w->layer->kernel_size, slot = (y + k) % k;
    return w->ring + (ptrdiff_t)slot * w->layer->in_fields * w->layer->in_size * w->pitch;
}

static void make_row(const Work *w, int y);

// Row y of the input comes into the ring; rows outside of the image are zero.
static void fetch_row(const Work *w, int y) {
    const Layer *layer = w->layer;
    const Work *before = w->before;
    const int size = layer->in_size;
    const ptrdiff_t of_field = (ptrdiff_t)size * w->pitch;
    REAL *row = ring_row(w, y);
    if (y < 0 || y >= layer->height) {
        memset(row, 0, layer->in_fields * of_field * sizeof(REAL));
    } else if (before) {
        fetch_row(before, y + before->layer->kernel_size / 2);
        make_row(before, y);
        for (int field = 0; field < layer->in_fields; field++, row += of_field)
            fetch_field(w, size, before->result + (ptrdiff_t)field * size * before->pitch, before->pitch, row);
    } else {
        for (const Part *part = layer->part; part < layer->part + layer->parts; row += part++->fields * of_field)
            fetch_part(w, part, size, y, row);
    }
}
#endif
