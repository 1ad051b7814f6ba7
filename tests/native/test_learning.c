// Compares what the kernel learns with, gradients and norms, with plain C. test_sanitized.py compiles and runs it.
#include "cases.h"

static const int SIZES[][2] = {{1, 1}, {2, 2}, {5, 17}, {4, 34}, {2, 96}, {3, 193}};
static const int STRIPS[] = {16, 112, 0};  // 0: the whole width
enum { MEASURE, NORMALISE, WEIGH, POOL, UNPOOL };
static const double TOLERANCE = sizeof(REAL) == 4 ? 3e-5 : 1e-11;

static void check(const char *what, const char *name, int height, int width, double found, double wanted, double scale) {
    if (fabs(found - wanted) <= TOLERANCE * (scale + fabs(wanted))) return;
    printf("%s, %s, %dx%d: %.9g, not %.9g\n", what, name, height, width, found, wanted);
    exit(1);
}

static Maps drawn(int channels, int height, int width, int gaps) {
    Maps m = make_maps(channels, height, width, gaps, (REAL)NAN);
    EACH(channels, 0, height, width) *at(&m, n, o, y, x) = (REAL)draw();
    return m;
}

// What follows the last number of a map's last row belongs to nobody: maps are as long as their numbers.
static void release(Maps *maps, int count) {
    for (int i = 0; i < count; i++) free(maps[i].map.data);
}

static REAL *factors_for(int channels) {
    REAL *factors = allocate(4 * channels * sizeof(REAL));
    for (int i = 0; i < 4 * channels; i++) factors[i] = (REAL)draw();
    return factors;
}

// What maps are read as that are before a norm, or, with slopes, what comes back through it (see kernel.h).
static Maps through_norm(const Maps *in, const REAL *factors, const Maps *slope) {
    Maps out = make_maps(in->channels, in->height, in->width, 0, 0);
    EACH(in->channels, 0, in->height, in->width) {
        const REAL *f = factors + 4 * o, v = *at(in, n, o, y, x), z = f[0] * v + f[1];
        const REAL back = slope && z > 0 ? *at(slope, n, o, y, x) : 0;
        *at(&out, n, o, y, x) = slope ? f[0] * back + f[2] * v + f[3] : z > 0 ? z : 0;
    }
    return out;
}

// The output is linear in the weights: its product with a slope is that of the weights with their gradient. The input,
// the slope or both may be upsampled, or be before a norm; where there are gaps, the output comes by itself, of an input
// that the norm was computed of, else with the gradient.
static void try_slopes(Case *c, int strip, const int *up, int gaps, int normed) {
    Layer *l = &c->layer;
    const int h = l->height, w = l->width, outs = l->out_fields * l->out_size, ins = l->in_fields * l->in_size;
    REAL *factors[] = {factors_for(ins), factors_for(outs)};
    Maps maps[] = {drawn(ins, h >> up[0], w >> up[0], gaps), drawn(outs, h >> up[1], w >> up[1], gaps),
                   make_maps(outs, h, w, 0, 0), drawn(outs, h >> up[1], w >> up[1], gaps)};
    Maps read[] = {through_norm(&maps[0], factors[0], NULL), through_norm(&maps[1], factors[1], &maps[3])};
    const int back = normed && !up[1];  // no slope is upsampled through a norm
    const Part plain = {.map = normed ? read[0].map : maps[0].map, .fields = l->in_fields, .upsampled = up[0]};
    const Part part = {maps[0].map, l->in_fields, up[0], normed ? factors[0] : NULL, {0}};
    const Part slope = {maps[1].map, l->out_fields, up[1], back ? factors[1] : NULL, back ? maps[3].map : (Map){0}};
    int64_t count = 0, done = 0;
    for (int p = 0; p < l->products; p++) count += (int64_t)l->product[p].outs * l->product[p].features;
    REAL *slopes = allocate(count * sizeof(REAL));
    l->parts = 1, l->strip = strip ? strip : (w + LINE - 1) / LINE * LINE;
    l->out = (Map){0}, l->slope = slope;
    double wanted = 0, found = 0, size = 0;
    void *scratch;
    if (posix_memalign(&scratch, 64, geseg_scratch(l) * sizeof(REAL))) abort();
    for (int n = 0; n < IMAGES; n++)
        for (int y = 0; y < h; y += 2) {
            l->out = maps[2].map, l->part = &plain;
            if (gaps) JOIN(geseg_rows_, REAL)(l, n, y, y + 2 < h ? y + 2 : h, scratch, SET);
            if (gaps) l->out = (Map){0};
            l->part = &part;
            JOIN(geseg_slopes_, REAL)(l, n, y, y + 2 < h ? y + 2 : h, scratch, SET, slopes);
            done = 0;
            for (int p = 0; p < l->products; p++)
                for (int64_t i = 0; i < (int64_t)l->product[p].outs * l->product[p].features; i++)
                    found += (double)((const REAL *)l->product[p].weight)[i] * slopes[done++];
        }
    EACH(outs, 0, h, w) {
        const double one = pixel(back ? &read[1] : &maps[1], up[1], n, o, y, x) * *at(&maps[2], n, o, y, x);
        wanted += one, size += fabs(one);
    }
    check("gradient", c->name, h, w, found, wanted, size / 10);
    free(slopes), free(scratch), free(factors[0]), free(factors[1]), release(maps, 4), release(read, 2);
}

// The product of upsampled maps with others is that of the maps themselves with what these are halved to.
static void try_halves(int height, int width, int gaps) {
    Maps maps[] = {drawn(3, height, width, gaps), drawn(3, 2 * height, 2 * width, gaps),
                   make_maps(3, height, width, gaps, MARK)};
    double wanted = 0, found = 0;
    for (int n = 0; n < IMAGES; n++)
        for (int y = 0; y < height; y += 3)
            JOIN(geseg_halve_, REAL)(&maps[1].map, &maps[2].map, n, 3, height, width, y,
                                     y + 3 < height ? y + 3 : height, SET);
    EACH(3, 0, 2 * height, 2 * width) wanted += *at(&maps[1], n, o, y, x) * pixel(&maps[0], 1, n, o, y, x);
    EACH(3, 0, height, width) found += (double)*at(&maps[0], n, o, y, x) * *at(&maps[2], n, o, y, x);
    check("halves", "-", height, width, found, wanted, height * width);
    release(maps, 3);
}

static void try_norm(int height, int width, int gaps) {
    enum { CHANNELS = 3 };
    Maps in = drawn(CHANNELS, height, width, gaps), slope = drawn(CHANNELS, height, width, gaps);
    Maps out = make_maps(CHANNELS, height, width, gaps, MARK);
    REAL *factors = factors_for(CHANNELS), *lanes = allocate(2 * LINE * IMAGES * CHANNELS * sizeof(REAL));
    Maps z = through_norm(&in, factors, NULL);
    double *sums = allocate(2 * IMAGES * CHANNELS * sizeof(double));
    const double numbers = (double)height * width;
    Between of = {CHANNELS, height, width, in.map, out.map, slope.map, {0}, factors, sums, lanes};
    for (int what = MEASURE; what <= WEIGH; what++) {
        for (int n = 0; n < IMAGES; n++) JOIN(geseg_between_, REAL)(&of, what, n, 0, CHANNELS, SET);
        for (int i = 0; i < IMAGES * CHANNELS && what != NORMALISE; i++) {
            double first = 0, second = 0;
            const double middle = what == MEASURE ? sums[2 * i] : factors[4 * (i % CHANNELS) + 2];
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++) {
                    const double v = *at(&in, i / CHANNELS, i % CHANNELS, y, x), apart = v - middle;
                    const int through = what == WEIGH && *at(&z, i / CHANNELS, i % CHANNELS, y, x) > 0;
                    const double s = through ? *at(&slope, i / CHANNELS, i % CHANNELS, y, x) : 0;
                    first += what == MEASURE ? v / numbers : s, second += what == MEASURE ? apart * apart : s * apart;
                }
            check("sums", what == MEASURE ? "mean" : "slope", height, width, sums[2 * i], first, numbers / 10);
            check("sums", what == MEASURE ? "squares" : "product", height, width, sums[2 * i + 1], second, numbers / 10);
        }
    }
    EACH(CHANNELS, 0, height, width)
        check("norm", "out", height, width, *at(&out, n, o, y, x), *at(&z, n, o, y, x), 1);
    free(factors), free(sums), free(lanes), release((Maps[]){in, slope, out, z}, 4);
}

// Of maps as they are, where several are the largest, or before a norm, where most are zero.
static void try_pool(int height, int width, int gaps, int normed) {
    Maps maps[] = {drawn(3, 2 * height, 2 * width, gaps), make_maps(3, height, width, gaps, MARK),
                   drawn(3, height, width, gaps), make_maps(3, 2 * height, 2 * width, gaps, MARK)};
    REAL *factors = factors_for(3);
    EACH(3, 0, 2 * height, 2 * width) if (*at(&maps[0], n, o, y, x) < 0) *at(&maps[0], n, o, y, x) = 0;
    Maps through = through_norm(&maps[0], factors, NULL), *const seen = normed ? &through : maps;
    Between of = {.channels = 3, .height = height, .width = width, .factors = normed ? factors : NULL};
    of.in = maps[0].map, of.out = maps[1].map, of.slope = maps[2].map, of.back = maps[3].map;
    for (int what = POOL; what <= UNPOOL; what++)
        for (int n = 0; n < IMAGES; n++) JOIN(geseg_between_, REAL)(&of, what, n, 0, 3, SET);
    EACH(3, 0, height, width) {
        int first = 0;
        for (int k = 1; k < 4; k++)
            if (*at(seen, n, o, 2 * y + k / 2, 2 * x + k % 2) > *at(seen, n, o, 2 * y + first / 2, 2 * x + first % 2))
                first = k;
        const REAL most = *at(seen, n, o, 2 * y + first / 2, 2 * x + first % 2);
        check("pool", "out", height, width, *at(&maps[1], n, o, y, x), most, 0);
        for (int k = 0; k < 4; k++)
            check("pool", "back", height, width, *at(&maps[3], n, o, 2 * y + k / 2, 2 * x + k % 2),
                  k == first ? *at(&maps[2], n, o, y, x) : 0, 0);
    }
    free(factors), release(&through, 1), release(maps, 4);
}

int main(void) {
    int tried = 0;
    Case c;
    while (read_case(&c)) {
        REAL *bias = allocate(c.layer.out_fields * sizeof(REAL));
        for (int i = 0; i < c.layer.out_fields; i++) bias[i] = 0;
        c.layer.bias = bias, c.layer.relu = 0;
        for (size_t i = 0; i < COUNT(SIZES) * COUNT(STRIPS) * 16; i++) {
            const int s = i / COUNT(STRIPS) / 16, strip = STRIPS[i / 16 % COUNT(STRIPS)], up[] = {i % 2, i / 4 % 2};
            c.layer.height = SIZES[s][0] << (up[0] | up[1]), c.layer.width = SIZES[s][1] << (up[0] | up[1]);
            if (strip < c.layer.width) try_slopes(&c, strip, up, i / 2 % 2, i / 8 % 2), tried++;
        }
    }
    for (size_t s = 0; s < COUNT(SIZES); s++)
        for (int gaps = 0; gaps < 2; gaps++) {
            try_halves(SIZES[s][0], SIZES[s][1], gaps), try_norm(SIZES[s][0], SIZES[s][1], gaps);
            try_pool(SIZES[s][0], SIZES[s][1], gaps, 0), try_pool(SIZES[s][0], SIZES[s][1], gaps, 1), tried += 4;
        }
    printf("%d\n", tried);
    return 0;
}
