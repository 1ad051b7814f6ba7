// The gradient of a map before it was upsampled to twice its height and width: the transpose of that (see input.h).
#ifndef GESEG_HALVE_H
#define GESEG_HALVE_H
#include "work.h"

enum { HALF_BLOCK = 128 };

// Numbers 2 x - 1 .. 2 (x + count) of rows 2 y - 1 .. 2 y + 2, summed over the rows; beyond an edge lies its repetition.
static void add_rows(const Map *in, int image, int channel, int y, int x, int count, int height, int width, REAL *sum) {
    const REAL *near = at(in, image, channel, 2 * y), *next = at(in, image, channel, 2 * y + 1);
    const REAL *above = y ? at(in, image, channel, 2 * y - 1) : near;
    const REAL *below = y < height - 1 ? at(in, image, channel, 2 * y + 2) : next;
    const int first = x ? 2 * x - 1 : 0, end = x + count < width ? 2 * (x + count) + 1 : 2 * width;
    REAL *from = sum + (x ? 0 : 1);
    for (int i = first; i < end; i++)
        from[i - first] = (REAL)0.75 * (near[i] + next[i]) + (REAL)0.25 * (above[i] + below[i]);
    if (!x) sum[0] = sum[1];
    if (x + count == width) sum[2 * count + 1] = sum[2 * count];
}

// Rows first .. last - 1 of all channels of an image of `out`, which is height x width; `in` is twice as large.
void JOIN(halve_, SUFFIX)(const Map *in, const Map *out, int32_t image, int32_t channels, int32_t height, int32_t width,
                          int32_t first, int32_t last) {
    for (int y = first; y < last; y++)
        for (int c = 0; c < channels; c++)
            for (int x = 0; x < width; x += HALF_BLOCK) {
                REAL sum[2 * HALF_BLOCK + 2], *to = at(out, image, c, y) + x;
                const int count = width - x < HALF_BLOCK ? width - x : HALF_BLOCK;
                add_rows(in, image, c, y, x, count, height, width, sum);
                for (int i = 0; i < count; i++)
                    to[i] = (REAL)0.75 * (sum[2 * i + 1] + sum[2 * i + 2]) + (REAL)0.25 * (sum[2 * i] + sum[2 * i + 3]);
            }
}
#endif
