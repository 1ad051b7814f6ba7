// The gradient of the weights: what products read, times the gradient of what they give, summed over all pixels.
#ifndef GESEG_GRADIENT_H
#define GESEG_GRADIENT_H
#include "planes.h"

static int64_t count_sums(const Layer *layer) {
    int64_t count = 0;
    for (const Product *p = layer->product; p < layer->product + layer->products; p++) count += (int64_t)p->outs * p->features;
    return count;
}

// A block of rows of a product, and `many` columns of it from `first` on.
INLINE void correlate(int outs, int many, const Work *w, int first, const int32_t *out, REAL *sums, const REAL *slope,
                      int width) {
    vec sum[4][MOST_OUTS];
    sums += (ptrdiff_t)first * outs * LANES;
    for (int v = 0; v < many; v++)
        for (int o = 0; o < outs; o++) sum[v][o] = load(sums + (v * outs + o) * LANES);
    for (int x = 0; x < width; x += LANES) {
        vec in[4];
#pragma GCC unroll 4
        for (int v = 0; v < many; v++) in[v] = load(w->feature[first + v] + x);
#pragma GCC unroll 6
        for (int o = 0; o < outs; o++) {
            const vec one = load(slope + (ptrdiff_t)out[o] * w->pitch + x);
#pragma GCC unroll 4
            for (int v = 0; v < many; v++) sum[v][o] += one * in[v];
        }
    }
    for (int v = 0; v < many; v++)
        for (int o = 0; o < outs; o++) store(sums + (v * outs + o) * LANES, sum[v][o]);
}

INLINE void correlate_all(int outs, const Work *w, int columns, const int32_t *out, REAL *sums, const REAL *slope,
                          int width) {
#define CALL(many, first) correlate(outs, many, w, first, out, sums, slope, width)
    IN_CHUNKS(columns, MOST_WIDE, CALL)
#undef CALL
}

static void learn(const Work *w, const Product *p, Fields fields, REAL *sums, const REAL *slope, int width) {
    gather(w, p, fields);
    for (int b = 0; b < count_rows(p); b++) {
        const Rows rows = rows_of(p, b);
        REAL *own = sums + start_of(w, p, rows, fields) * LANES;
#define CALL(outs) correlate_all(outs, w, columns_of(w, p, fields), p->out + rows.first, own, slope, width)
        WITH_OUTS(rows.count, CALL)
#undef CALL
    }
}

// What some fields in a block of columns add to the sums, whose planes and slopes are there.
static void learn_block(const Work *w, Fields fields, Columns b) {
    REAL *sums = w->sums;
    for (const Product *p = w->layer->product; p < w->layer->product + w->layer->products; p++) {
        learn(w, p, fields, sums, w->slopes + LINE + b.x, b.width);
        sums += (ptrdiff_t)p->outs * p->features * LANES;
    }
}

static void add_sums(const Work *w, REAL *slopes) {
    const REAL *sums = w->sums;
    for (int64_t i = count_sums(w->layer); i > 0; i--, sums += LANES) {
        REAL sum = 0;
        for (int lane = 0; lane < LANES; lane++) sum += sums[lane];
        *slopes++ = sum;
    }
}
#endif
