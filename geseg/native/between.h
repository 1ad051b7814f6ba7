// What lies between convolutions while a net learns: the sums that norms need, forward and backward, norm and ReLU where
// nothing else computes them, 2x2 max-pooling and its gradient, channel by channel. What fields share (a mean, a scale) is
// summed up and chosen by convolution.py.
#ifndef GESEG_BETWEEN_H
#define GESEG_BETWEEN_H
#include "work.h"

enum { ROWS = 8 };  // of a channel, whose numbers are summed lane by lane before they join its sums

// The two sums of a channel.
INLINE double *sums_of(const Between *of, int32_t image, int32_t channel) {
    return of->sums + 2 * ((int64_t)image * of->channels + channel);
}

// What the last rows add to them, lane by lane.
INLINE REAL *lanes_of(const Between *of, int32_t image, int32_t channel) {
    return (REAL *)of->lanes + 2 * LINE * ((int64_t)image * of->channels + channel);
}

// Both in one number each, and the lanes are empty again.
static void take_lanes(REAL *lanes, double *found) {
    for (int sum = 0; sum < 2; sum++, lanes += LINE) {
        found[sum] = 0;
        for (int i = 0; i < LANES; i++) found[sum] += lanes[i];
        memset(lanes, 0, LANES * sizeof(REAL));
    }
}

static double row_mean(const REAL *in, int width) {
    double sum = 0;
    for (int x = 0; x < width; x++) sum += in[x];
    return sum / width;
}

// Rows come one after the other, and in each all channels, since the maps that learn lie so (see between.py): what
// follows does a row of a channel, and what is summed is 0 before the first one.

// Sums of the distances to what is the mean so far, which is near enough for their squares to lose nothing.
static void measure(const Between *of, int32_t image, int32_t channel, int32_t y) {
    const REAL *in = at(&of->in, image, channel, y);
    double *mean = sums_of(of, image, channel);
    REAL *lanes = lanes_of(of, image, channel);
    if (!y) *mean = row_mean(in, of->width);
    const REAL middle = (REAL)*mean;
    vec sum = load(lanes), squares = load(lanes + LINE);
    int x = 0;
    for (; x <= of->width - LANES; x += LANES) {
        const vec apart = load(in + x) - middle;
        sum += apart, squares += apart * apart;
    }
    store(lanes, sum), store(lanes + LINE, squares);
    for (; x < of->width; x++) {
        const REAL apart = in[x] - middle;
        lanes[0] += apart, lanes[LINE] += apart * apart;
    }
}

// Mean and sum of squared distances to it, merged with those of the last rows (Chan, Golub & LeVeque 1983, equation 2.1).
static void join_measured(const Between *of, int32_t image, int32_t channel, int32_t y) {
    double *sums = sums_of(of, image, channel), found[2];
    take_lanes(lanes_of(of, image, channel), found);
    const double many = (y % ROWS + 1) * (double)of->width, all = (y + 1) * (double)of->width;
    const double of_rows = (REAL)sums[0] + found[0] / many, apart = of_rows - sums[0];
    const double squares = found[1] - found[0] * found[0] / many;
    sums[0] += apart * many / all;
    sums[1] += squares + apart * apart * many * (all - many) / all;
}

static void normalise(const Between *of, int32_t image, int32_t channel, int32_t y) {
    const REAL *f = factors_of(of->factors, channel), *in = at(&of->in, image, channel, y);
    REAL *out = at(&of->out, image, channel, y);
    int x = 0;
    for (; x <= of->width - LANES; x += LANES) store(out + x, rectify(f, load(in + x)));
    for (; x < of->width; x++) out[x] = rectify_one(f, in[x]);
}

// Sums of the gradient where the ReLU lets it through, and of its products with in - middle.
static void weigh(const Between *of, int32_t image, int32_t channel, int32_t y) {
    const REAL *f = factors_of(of->factors, channel), middle = f[2];
    const REAL *in = at(&of->in, image, channel, y), *slope = at(&of->slope, image, channel, y);
    REAL *lanes = lanes_of(of, image, channel);
    vec sum = load(lanes), products = load(lanes + LINE);
    int x = 0;
    for (; x <= of->width - LANES; x += LANES) {
        const vec here = load(in + x), through = let_through(f, here, load(slope + x));
        sum += through, products += through * (here - middle);
    }
    store(lanes, sum), store(lanes + LINE, products);
    for (; x < of->width; x++)
        if (!(f[0] * in[x] + f[1] <= 0)) lanes[0] += slope[x], lanes[LINE] += slope[x] * (in[x] - middle);
}

static void join_weighed(const Between *of, int32_t image, int32_t channel, int32_t y) {
    (void)y;
    double *sums = sums_of(of, image, channel), found[2];
    take_lanes(lanes_of(of, image, channel), found);
    sums[0] += found[0], sums[1] += found[1];
}

// What pooling sees of a number.
INLINE REAL seen(const REAL *f, REAL v) { return f ? rectify_one(f, v) : v; }

// Largest of 2x2; height and width are those of `out`, half of those of `in`.
INLINE void pool_row(const REAL *f, const REAL *restrict a, const REAL *restrict b, REAL *restrict out, int width) {
    for (int x = 0; x < width; x++) {
        const REAL one = larger(seen(f, a[2 * x]), seen(f, a[2 * x + 1]));
        out[x] = larger(one, larger(seen(f, b[2 * x]), seen(f, b[2 * x + 1])));
    }
}

static void pool_map(const Between *of, int32_t image, int32_t channel, int32_t y) {
    const REAL *f = factors_of(of->factors, channel);
    const REAL *a = at(&of->in, image, channel, 2 * y), *b = at(&of->in, image, channel, 2 * y + 1);
    REAL *out = at(&of->out, image, channel, y);
    if (f) pool_row(f, a, b, out, of->width);
    else pool_row(NULL, a, b, out, of->width);
}

// The gradient goes to the first of the four that is the largest, as torch has it.
INLINE void unpool_row(const REAL *f, const REAL *restrict a, const REAL *restrict b, const REAL *restrict slope,
                       REAL *restrict up, REAL *restrict down, int width) {
    for (int x = 0; x < width; x++) {
        const REAL nw = seen(f, a[2 * x]), ne = seen(f, a[2 * x + 1]), sw = seen(f, b[2 * x]), se = seen(f, b[2 * x + 1]);
        const REAL one = larger(nw, ne), other = larger(sw, se), most = larger(one, other);
        const REAL after_nw = nw == most ? 0 : slope[x], after_ne = ne == most ? 0 : after_nw;
        up[2 * x] = nw == most ? slope[x] : 0;
        up[2 * x + 1] = ne == most ? after_nw : 0;
        down[2 * x] = sw == most ? after_ne : 0;
        down[2 * x + 1] = sw == most ? 0 : after_ne;
    }
}

static void unpool_map(const Between *of, int32_t image, int32_t channel, int32_t y) {
    const REAL *f = factors_of(of->factors, channel), *slope = at(&of->slope, image, channel, y);
    const REAL *a = at(&of->in, image, channel, 2 * y), *b = at(&of->in, image, channel, 2 * y + 1);
    REAL *up = at(&of->back, image, channel, 2 * y), *down = at(&of->back, image, channel, 2 * y + 1);
    if (f) unpool_row(f, a, b, slope, up, down, of->width);
    else unpool_row(NULL, a, b, slope, up, down, of->width);
}

void JOIN(between_, SUFFIX)(const Between *of, int32_t what, int32_t image, int32_t first, int32_t last) {
    typedef void Row(const Between *, int32_t, int32_t, int32_t);
    static Row *const rows[] = {measure, normalise, weigh, pool_map, unpool_map};
    static Row *const joins[] = {join_measured, NULL, join_weighed, NULL, NULL};
    Row *const row = rows[what], *const join = joins[what];
    if (join) {
        memset(sums_of(of, image, first), 0, 2 * (last - first) * sizeof(double));
        memset(lanes_of(of, image, first), 0, 2 * LINE * (last - first) * sizeof(REAL));
    }
    for (int32_t y = 0; y < of->height; y++) {
        for (int32_t channel = first; channel < last; channel++) row(of, image, channel, y);
        if (join && (y % ROWS == ROWS - 1 || y == of->height - 1))
            for (int32_t channel = first; channel < last; channel++) join(of, image, channel, y);
    }
}
#endif
