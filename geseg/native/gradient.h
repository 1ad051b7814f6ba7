// The gradient of the weights: what products read, times the gradient of what they give, summed over all pixels.
#ifndef GESEG_GRADIENT_H
#define GESEG_GRADIENT_H
#include "planes.h"

enum { MOST_SUMS = 4 };  // columns of a product whose sums are in registers at a time, however wide they are

// Columns of a product with those beside that fill its last block.
INLINE int padded(const Product *p) { return (p->features + MOST_SUMS - 1) / MOST_SUMS * MOST_SUMS; }

static int64_t count_sums(const Layer *layer) {
    int64_t count = 0;
    for (const Product *p = layer->product; p < layer->product + layer->products; p++) count += (int64_t)p->outs * padded(p);
    return count;
}

// A block of rows of a product. Columns beyond the last one repeat the first.
INLINE void correlate(int outs, const Work *w, const Product *p, const int32_t *out, REAL *sums, const REAL *slope,
                      int width) {
    for (int f = 0; f < p->features; f += MOST_WIDE, sums += MOST_WIDE * outs * LANES) {
        vec sum[MOST_WIDE][MOST_OUTS];
        for (int v = 0; v < MOST_WIDE; v++)
            for (int o = 0; o < outs; o++) sum[v][o] = load(sums + (v * outs + o) * LANES);
        for (int x = 0; x < width; x += LANES) {
            vec in[MOST_WIDE];
#pragma GCC unroll 4
            for (int v = 0; v < MOST_WIDE; v++) in[v] = load(w->feature[f + v] + x);
#pragma GCC unroll 6
            for (int o = 0; o < outs; o++) {
                const vec one = load(slope + (ptrdiff_t)out[o] * w->pitch + x);
#pragma GCC unroll 4
                for (int v = 0; v < MOST_WIDE; v++) sum[v][o] += one * in[v];
            }
        }
        for (int v = 0; v < MOST_WIDE; v++)
            for (int o = 0; o < outs; o++) store(sums + (v * outs + o) * LANES, sum[v][o]);
    }
}

static void learn(const Work *w, const Product *p, REAL *sums, const REAL *slope, int width) {
    for (int f = 0; f < padded(p); f++) w->feature[f] = w->plane[p->feature[f < p->features ? f : 0]];
    for (int b = 0; b < count_rows(p); b++) {
        const Rows rows = rows_of(p, b);
        REAL *of_rows = sums + (ptrdiff_t)rows.first * padded(p) * LINE;
#define CALL(outs) correlate(outs, w, p, p->out + rows.first, of_rows, slope, width)
        WITH_OUTS(rows.count, CALL)
#undef CALL
    }
}

// What a block of columns adds to the sums, whose planes and slopes are there.
static void learn_block(const Work *w, Columns b) {
    REAL *sums = w->sums;
    for (const Product *p = w->layer->product; p < w->layer->product + w->layer->products; p++) {
        learn(w, p, sums, w->slopes + LINE + b.x, b.width);
        sums += (ptrdiff_t)p->outs * padded(p) * LINE;
    }
}

static void add_sums(const Work *w, REAL *slopes) {
    const REAL *of_product = w->sums;
    for (const Product *p = w->layer->product; p < w->layer->product + w->layer->products; p++) {
        for (int b = 0; b < count_rows(p); b++) {
            const Rows rows = rows_of(p, b);
            const REAL *sums = of_product + (ptrdiff_t)rows.first * padded(p) * LINE;
            for (int i = 0; i < rows.count * p->features; i++, sums += LANES) {
                REAL sum = 0;
                for (int lane = 0; lane < LANES; lane++) sum += sums[lane];
                *slopes++ = sum;
            }
        }
        of_product += (ptrdiff_t)p->outs * padded(p) * LINE;
    }
}
#endif
