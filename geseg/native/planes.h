// What products are made of: responses to fixed filters, and sums of them.
#ifndef GESEG_PLANES_H
#define GESEG_PLANES_H
#include "input.h"

// The six of a 3x3 kernel: centre, ring, cos 2a, d/dx, d/dy, sin 2a. The first is the ring's own row.
INLINE void respond_3x3(const Layer *layer, const REAL *const *row, REAL *out, int width) {
    const REAL even = layer->corner_even, odd = layer->corner_odd, *up = row[0], *mid = row[1], *down = row[2];
    for (int x = 0; x < width; x += LANES) {
        const vec nw = load(up + x - 1), n = load(up + x), ne = load(up + x + 1);
        const vec west = load(mid + x - 1), east = load(mid + x + 1);
        const vec sw = load(down + x - 1), s = load(down + x), se = load(down + x + 1);
        const vec across = west + east, along = n + s, right = ne + se, left = nw + sw, top = nw + ne, low = sw + se;
        store(out + x, across + along + even * (left + right));
        store(out + BLOCK + x, along - across);
        store(out + 2 * BLOCK + x, west - east + odd * (left - right));
        store(out + 3 * BLOCK + x, n - s + odd * (top - low));
        store(out + 4 * BLOCK + x, nw - ne - (sw - se));
    }
}

static void respond(const Layer *layer, const REAL *const *row, REAL *out, int width) {
    const int k = layer->kernel_size, reach = k / 2;
    const REAL *value = layer->filter.value;
    for (int f = 1; f < layer->filters; f++)
        for (int x = 0; x < width; x += LANES) {
            vec sum = {0};
            for (int i = layer->filter.start[f]; i < layer->filter.start[f + 1]; i++) {
                const int tap = layer->filter.column[i];
                sum += value[i] * load(row[tap / k] + tap % k - reach + x);
            }
            store(out + (ptrdiff_t)(f - 1) * BLOCK + x, sum);
        }
}

// The sum that row r of a matrix makes of planes.
static void add_planes(const Sparse *m, int r, const REAL *const *plane, REAL *out, int width) {
    const int first = m->start[r], last = m->start[r + 1];
    const REAL *value = m->value;
    if (last == first + 2) {  // as all sums of 3x3 kernels
        const REAL *one = plane[m->column[first]], *two = plane[m->column[first + 1]];
        const REAL of_one = value[first], of_two = value[first + 1];
        for (int x = 0; x < width; x += LANES) store(out + x, of_one * load(one + x) + of_two * load(two + x));
        return;
    }
    for (int x = 0; x < width; x += LANES) {
        vec sum = {0};
        for (int i = first; i < last; i++) sum += value[i] * load(plane[m->column[i]] + x);
        store(out + x, sum);
    }
}

// Where the planes of all fields are, for `width` columns from x (of the strip) on in row y.
static void make_planes(const Work *w, int y, int x, int width) {
    const Layer *layer = w->layer;
    const int k = layer->kernel_size, filters = layer->filters;
    const REAL **plane = w->plane, *row[MOST_TAPS];
    REAL *out = w->responses;
    for (int field = 0; field < layer->in_fields; field++) {
        const REAL **of_field = plane;
        for (int p = 0; p < layer->in_size; p++) {
            const ptrdiff_t offset = ((ptrdiff_t)field * layer->in_size + p) * w->pitch + LINE + x;
            for (int i = 0; i < k; i++) row[i] = ring_row(w, y + i - k / 2) + offset;
            *plane++ = row[k / 2];
            if (layer->corner_even != 0 && layer->corner_odd != 0)
                respond_3x3(layer, row, out, width);
            else
                respond(layer, row, out, width);
            for (int f = 1; f < filters; f++, out += BLOCK) *plane++ = out;
        }
        for (int e = 0; e < layer->extras; e++, out += BLOCK) {
            add_planes(&layer->extra, e, of_field, out, width);
            *plane++ = out;
        }
    }
}
#endif
