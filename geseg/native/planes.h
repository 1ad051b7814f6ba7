// What products are made of: responses to fixed filters, and sums of them.
#ifndef GESEG_PLANES_H
#define GESEG_PLANES_H
#include "input.h"

// Three rows at a vector of columns: the sum and the difference of the outer two, and the middle one.
typedef struct {
    vec sum, difference, middle;
} Column;

INLINE Column column_at(const REAL *const *row, ptrdiff_t x) {
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

// What the filters of a 3x3 kernel give beside the centre, which is the ring's own row: ring, cos 2a, d/dx, d/dy, sin 2a.
typedef struct {
    vec ring, cos2, dx, dy, sin2;
} Responses;

INLINE Responses respond_at(const Layer *layer, Column left, Column here, Column right) {
    const REAL even = layer->even, odd = layer->odd;
    const vec across = left.middle + right.middle;
    return (Responses){
        .ring = across + here.sum + even * (left.sum + right.sum),
        .cos2 = here.sum - across,
        .dx = left.middle - right.middle + odd * (left.sum - right.sum),
        .dy = here.difference + odd * (left.difference + right.difference),
        .sin2 = left.difference - right.difference,
    };
}

// What the harmonics of two channels make together (see pairs.py).
INLINE void pair_up(const Layer *layer, int pairing, Responses *p, Responses *q) {
    const REAL even = layer->even;
    butterfly(&p->dx, &q->dy), butterfly(&p->dy, &q->dx);
    if (pairing == FIRST) return;
    p->sin2 *= even, q->sin2 *= even;
    butterfly(&p->cos2, &q->sin2), butterfly(&p->sin2, &q->cos2);
}

INLINE void give(Responses r, REAL *out) {
    store(out, r.ring), store(out + BLOCK, r.cos2), store(out + 2 * BLOCK, r.dx), store(out + 3 * BLOCK, r.dy);
    store(out + 4 * BLOCK, r.sin2);
}

// One channel, or a pair that lies `pitch` numbers apart.
INLINE void respond_3x3(const Layer *layer, int pairing, const REAL *const *row, ptrdiff_t pitch, REAL *out, int width) {
    const int channels = pairing == ALONE ? 1 : 2;
    Responses found[2];
#ifdef __AVX512F__  // a vector that is loaded from between two lines of the cache would take twice as long
    Column left[2], here[2];
    for (int c = 0; c < channels; c++)
        left[c] = column_at(row, c * pitch - LANES), here[c] = column_at(row, c * pitch);
#endif
    for (int x = 0; x < width; x += LANES) {
        for (int c = 0; c < channels; c++) {
            const ptrdiff_t at = c * pitch + x;
#ifdef __AVX512F__
            const Column right = column_at(row, at + LANES);
            found[c] = respond_at(layer, BETWEEN(left[c], here[c], LANES - 1), here[c], BETWEEN(here[c], right, 1));
            left[c] = here[c], here[c] = right;
#else
            found[c] = respond_at(layer, column_at(row, at - 1), column_at(row, at), column_at(row, at + 1));
#endif
        }
        if (pairing != ALONE) pair_up(layer, pairing, &found[0], &found[1]);
        for (int c = 0; c < channels; c++) give(found[c], out + (ptrdiff_t)c * 5 * BLOCK + x);
    }
}

static void respond_any(const Layer *layer, const REAL *const *row, REAL *out, int width) {
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

// What channel p of a field gives, and the one after it if they are a pair.
static void respond(const Layer *layer, int p, const REAL *const *row, ptrdiff_t pitch, REAL *out, int width) {
    if (!layer->pairing) respond_any(layer, row, out, width);
    else if (layer->pairing[p] == ALONE) respond_3x3(layer, ALONE, row, pitch, out, width);
    else if (layer->pairing[p] == FIRST) respond_3x3(layer, FIRST, row, pitch, out, width);
    else if (layer->pairing[p] == BOTH) respond_3x3(layer, BOTH, row, pitch, out, width);
}

// The sum that row r of a matrix makes of planes.
static void add_planes(const Sparse *m, int r, const REAL *const *plane, REAL *out, int width) {
    const int first = m->start[r], last = m->start[r + 1];
    const REAL *value = m->value;
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
            respond(layer, p, row, w->pitch, out, width);
            for (int f = 1; f < filters; f++, out += BLOCK) *plane++ = out;
        }
        for (int e = 0; e < layer->extras; e++, out += BLOCK) {
            add_planes(&layer->extra, e, of_field, out, width);
            *plane++ = out;
        }
    }
}
#endif
