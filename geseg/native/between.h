// What lies between convolutions while a net learns: norm and ReLU, 2x2 max-pooling, and their gradients, channel by
// channel. What fields share (a mean, a scale) is summed up and chosen by training.py.
#ifndef GESEG_BETWEEN_H
#define GESEG_BETWEEN_H
#include "work.h"

static REAL total(vec v) {
    REAL sum = 0;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}

static REAL row_sum(const REAL *in, int width) {
    vec sum = {0};
    int x = 0;
    for (; x <= width - LANES; x += LANES) sum += load(in + x);
    REAL rest = 0;
    for (; x < width; x++) rest += in[x];
    return total(sum) + rest;
}

// The two sums of a channel.
INLINE double *sums_of(const Between *of, int32_t image, int32_t channel) {
    return of->sums + 2 * ((int64_t)image * of->channels + channel);
}

static REAL row_squares(const REAL *in, int width, REAL mean) {
    vec sum = {0};
    int x = 0;
    for (; x <= width - LANES; x += LANES) {
        const vec apart = load(in + x) - mean;
        sum += apart * apart;
    }
    REAL rest = 0;
    for (; x < width; x++) rest += (in[x] - mean) * (in[x] - mean);
    return total(sum) + rest;
}

// Rows come one after the other, and in each all channels, since the maps that learn lie so (see between.py): what
// follows does a row of a channel, and what is summed is 0 before the first one.

// Mean and sum of squared distances to it, merged row by row (Chan, Golub & LeVeque 1983, equation 2.1).
static void measure(const Between *of, int32_t image, int32_t channel, int32_t y) {
    const REAL *in = at(&of->in, image, channel, y);
    double *sums = sums_of(of, image, channel);
    const double of_row = row_sum(in, of->width) / (double)of->width, apart = of_row - sums[0];
    sums[0] += apart / (y + 1);
    sums[1] += row_squares(in, of->width, (REAL)of_row) + apart * apart * of->width * y / (y + 1);
}

// out = ReLU(scale * in + shift)
static void normalise(const Between *of, int32_t image, int32_t channel, int32_t y) {
    const REAL scale = of->factors[3 * channel], shift = of->factors[3 * channel + 1];
    const REAL *in = at(&of->in, image, channel, y);
    REAL *out = at(&of->out, image, channel, y);
    int x = 0;
    for (; x <= of->width - LANES; x += LANES) store(out + x, positive(scale * load(in + x) + shift));
    for (; x < of->width; x++) {
        const REAL value = scale * in[x] + shift;
        out[x] = value <= 0 ? 0 : value;
    }
}

// Sums of the gradient where the ReLU lets it through, and of its products with in - middle.
static void weigh(const Between *of, int32_t image, int32_t channel, int32_t y) {
    const REAL middle = of->factors[3 * channel];
    const REAL *in = at(&of->in, image, channel, y), *out = at(&of->out, image, channel, y);
    const REAL *slope = at(&of->slope, image, channel, y);
    double *sums = sums_of(of, image, channel);
    vec of_row = {0}, products = {0};
    int x = 0;
    for (; x <= of->width - LANES; x += LANES) {
        const vec through = (vec)((mask)load(slope + x) & ~(load(out + x) <= 0));
        of_row += through;
        products += through * (load(in + x) - middle);
    }
    for (; x < of->width; x++)
        if (!(out[x] <= 0)) sums[0] += slope[x], sums[1] += slope[x] * (in[x] - middle);
    sums[0] += total(of_row), sums[1] += total(products);
}

// The gradient of what came in: a * (gradient where the ReLU lets it through) + b * in + c.
static void denormalise(const Between *of, int32_t image, int32_t channel, int32_t y) {
    const double *factors = of->factors + 3 * channel;
    const REAL a = factors[0], b = factors[1], c = factors[2];
    const REAL *in = at(&of->in, image, channel, y), *out = at(&of->out, image, channel, y);
    const REAL *slope = at(&of->slope, image, channel, y);
    REAL *back = at(&of->back, image, channel, y);
    int x = 0;
    for (; x <= of->width - LANES; x += LANES) {
        const vec through = (vec)((mask)load(slope + x) & ~(load(out + x) <= 0));
        store(back + x, a * through + b * load(in + x) + c);
    }
    for (; x < of->width; x++) back[x] = (out[x] <= 0 ? 0 : a * slope[x]) + b * in[x] + c;
}

// Largest of 2x2; height and width are those of `out`, half of those of `in`.
static void pool_map(const Between *of, int32_t image, int32_t channel, int32_t y) {
    const REAL *a = at(&of->in, image, channel, 2 * y), *b = at(&of->in, image, channel, 2 * y + 1);
    REAL *out = at(&of->out, image, channel, y);
    for (int x = 0; x < of->width; x++) {
        const REAL one = larger(a[2 * x], a[2 * x + 1]), two = larger(b[2 * x], b[2 * x + 1]);
        out[x] = larger(one, two);
    }
}

// The gradient goes to the first of the four that is the largest, as torch has it.
static void unpool_map(const Between *of, int32_t image, int32_t channel, int32_t y) {
    const REAL *a = at(&of->in, image, channel, 2 * y), *b = at(&of->in, image, channel, 2 * y + 1);
    const REAL *out = at(&of->out, image, channel, y), *slope = at(&of->slope, image, channel, y);
    REAL *up = at(&of->back, image, channel, 2 * y), *down = at(&of->back, image, channel, 2 * y + 1);
    for (int x = 0; x < of->width; x++) {
        const REAL most = out[x], s = slope[x];
        const int nw = a[2 * x] == most, ne = a[2 * x + 1] == most, sw = b[2 * x] == most;
        up[2 * x] = nw ? s : 0;
        up[2 * x + 1] = !nw && ne ? s : 0;
        down[2 * x] = !nw && !ne && sw ? s : 0;
        down[2 * x + 1] = !nw && !ne && !sw ? s : 0;
    }
}

void JOIN(between_, SUFFIX)(const Between *of, int32_t what, int32_t image, int32_t first, int32_t last) {
    static void (*const all[])(const Between *, int32_t, int32_t, int32_t) = {measure,     normalise, weigh,
                                                                              denormalise, pool_map,  unpool_map};
    if (of->sums) memset(sums_of(of, image, first), 0, 2 * (last - first) * sizeof(double));
    for (int32_t y = 0; y < of->height; y++)
        for (int32_t channel = first; channel < last; channel++) all[what](of, image, channel, y);
}
#endif
