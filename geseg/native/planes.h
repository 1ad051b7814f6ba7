// What products are made of: responses to fixed filters, and sums of them.
#ifndef GESEG_PLANES_H
#define GESEG_PLANES_H
#include "input.h"

// Three rows at a vector of columns: the sum and the difference of the outer two, and the middle one.
typedef struct {
    vec sum, difference, middle;
} Column;

INLINE Column column_at(const REAL *const *row, int x) {
    const vec up = load(row[0] + x), down = load(row[2] + x);
    return (Column){up + down, up - down, load(row[1] + x)};
}

#ifdef __AVX512F__
// One column to the left, or to the right, of where `b` is, or `a`, which lies before it.
#define ALIGN(a, b, by)                                                             \
    (sizeof(REAL) == 4 ? (vec)_mm512_alignr_epi32((__m512i)(b), (__m512i)(a), (by) & 15) \
                       : (vec)_mm512_alignr_epi64((__m512i)(b), (__m512i)(a), (by) & 7))
#define BETWEEN(a, b, by) \
    ((Column){ALIGN(a.sum, b.sum, by), ALIGN(a.difference, b.difference, by), ALIGN(a.middle, b.middle, by)})
#endif

INLINE void respond_at(const Layer *layer, Column left, Column here, Column right, REAL *out) {
    const REAL even = layer->corner_even, odd = layer->corner_odd;
    const vec across = left.middle + right.middle;
    store(out, across + here.sum + even * (left.sum + right.sum));
    store(out + BLOCK, here.sum - across);
    store(out + 2 * BLOCK, left.middle - right.middle + odd * (left.sum - right.sum));
    store(out + 3 * BLOCK, here.difference + odd * (left.difference + right.difference));
    store(out + 4 * BLOCK, left.difference - right.difference);
}

// The six of a 3x3 kernel: centre, ring, cos 2a, d/dx, d/dy, sin 2a. The first is the ring's own row.
INLINE void respond_3x3(const Layer *layer, const REAL *const *row, REAL *out, int width) {
#ifdef __AVX512F__  // a vector that is loaded from between two lines of the cache would take twice as long
    Column left = column_at(row, -LANES), here = column_at(row, 0);
    for (int x = 0; x < width; x += LANES) {
        const Column right = column_at(row, x + LANES);
        respond_at(layer, BETWEEN(left, here, LANES - 1), here, BETWEEN(here, right, 1), out + x);
        left = here, here = right;
    }
#else
    for (int x = 0; x < width; x += LANES)
        respond_at(layer, column_at(row, x - 1), column_at(row, x), column_at(row, x + 1), out + x);
#endif
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

// Where the planes of some fields are, for `width` columns from x (of the strip) on in row y.
static void make_planes(const Work *w, Fields fields, int y, int x, int width) {
    const Layer *layer = w->layer;
    const int k = layer->kernel_size, filters = layer->filters;
    const REAL **plane = w->plane, *row[MOST_TAPS], *first[MOST_TAPS];
    REAL *out = w->responses;
    for (int i = 0; i < k; i++) first[i] = ring_row(w, y + i - k / 2) + LINE + x;
    for (int field = fields.first; field < fields.last; field++) {
        const REAL **of_field = plane;
        for (int p = 0; p < layer->in_size; p++) {
            const ptrdiff_t channel = (ptrdiff_t)field * layer->in_size + p;
            for (int i = 0; i < k; i++) row[i] = first[i] + channel * w->pitch;
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
