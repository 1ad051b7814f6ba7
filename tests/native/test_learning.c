// Compares what the kernel learns with, gradients and norms, with plain C. test_sanitized.py compiles and runs it.
#include "cases.h"

static const int SIZES[][2] = {{1, 1}, {2, 2}, {5, 17}, {4, 34}, {2, 96}, {3, 193}};
static const int STRIPS[] = {16, 112, 0};  // 0: the whole width
enum { MEASURE, NORMALISE, WEIGH, DENORMALISE, POOL, UNPOOL };
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

// The output is linear in the weights: its product with a slope is that of the weights with their gradient. The input,
// the slope or both may be upsampled; where there are no gaps, the output comes with the gradient.
static void try_slopes(Case *c, int strip, const int *up, int gaps) {
    Layer *l = &c->layer;
    const int h = l->height, w = l->width, outs = l->out_fields * l->out_size;
    Maps maps[] = {drawn(l->in_fields * l->in_size, h >> up[0], w >> up[0], gaps),
                   drawn(outs, h >> up[1], w >> up[1], gaps), make_maps(outs, h, w, 0, 0)};
    const Part part = {maps[0].map, l->in_fields, up[0]};
    int64_t count = 0, done = 0;
    for (int p = 0; p < l->products; p++) count += (int64_t)l->product[p].outs * l->product[p].features;
    REAL *slopes = allocate(count * sizeof(REAL));
    l->part = &part, l->parts = 1, l->strip = strip ? strip : (w + LINE - 1) / LINE * LINE;
    l->out = (Map){0}, l->slope = (Part){maps[1].map, l->out_fields, up[1]};
    double wanted = 0, found = 0, size = 0;
    void *scratch;
    if (posix_memalign(&scratch, 64, geseg_scratch(l) * sizeof(REAL))) abort();
    for (int n = 0; n < IMAGES; n++)
        for (int y = 0; y < h; y += 2) {
            l->out = maps[2].map;
            if (gaps) JOIN(geseg_rows_, REAL)(l, n, y, y + 2 < h ? y + 2 : h, scratch, SET);
            if (gaps) l->out = (Map){0};
            JOIN(geseg_slopes_, REAL)(l, n, y, y + 2 < h ? y + 2 : h, scratch, SET, slopes);
            done = 0;
            for (int p = 0; p < l->products; p++)
                for (int64_t i = 0; i < (int64_t)l->product[p].outs * l->product[p].features; i++)
                    found += (double)((const REAL *)l->product[p].weight)[i] * slopes[done++];
        }
    EACH(outs, 0, h, w) {
        const double one = pixel(&maps[1], up[1], n, o, y, x) * *at(&maps[2], n, o, y, x);
        wanted += one, size += fabs(one);
    }
    check("gradient", c->name, h, w, found, wanted, size / 10);
    free(slopes), free(scratch), release(maps, 3);
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
    Maps out = make_maps(CHANNELS, height, width, gaps, MARK), back = make_maps(CHANNELS, height, width, gaps, MARK);
    double *factors = allocate(4 * CHANNELS * sizeof(double)), *sums = allocate(2 * IMAGES * CHANNELS * sizeof(double));
    REAL *lanes = allocate(2 * LINE * IMAGES * CHANNELS * sizeof(REAL));
    const double numbers = (double)height * width;
    Between of = {CHANNELS, height, width, in.map, out.map, slope.map, back.map, factors, sums, lanes};
    for (int i = 0; i < 4 * CHANNELS; i++) factors[i] = draw();
    for (int what = MEASURE; what <= DENORMALISE; what++) {
        for (int n = 0; n < IMAGES; n++) JOIN(geseg_between_, REAL)(&of, what, n, 0, CHANNELS, SET);
        for (int i = 0; i < IMAGES * CHANNELS && (what == MEASURE || what == WEIGH); i++) {
            double first = 0, second = 0;
            const double middle = what == MEASURE ? sums[2 * i] : factors[4 * (i % CHANNELS) + 2];
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++) {
                    const double v = *at(&in, i / CHANNELS, i % CHANNELS, y, x), apart = v - middle;
                    const int through = what == WEIGH && *at(&out, i / CHANNELS, i % CHANNELS, y, x) > 0;
                    const double s = through ? *at(&slope, i / CHANNELS, i % CHANNELS, y, x) : 0;
                    first += what == MEASURE ? v / numbers : s, second += what == MEASURE ? apart * apart : s * apart;
                }
            check("sums", what == MEASURE ? "mean" : "slope", height, width, sums[2 * i], first, numbers / 10);
            check("sums", what == MEASURE ? "squares" : "product", height, width, sums[2 * i + 1], second, numbers / 10);
        }
    }
    EACH(CHANNELS, 0, height, width) {
        const double *f = factors + 4 * o, v = *at(&in, n, o, y, x), z = f[0] * v + f[1];
        check("norm", "out", height, width, *at(&out, n, o, y, x), z > 0 ? z : 0, 1);
        const double through = *at(&out, n, o, y, x) > 0 ? *at(&slope, n, o, y, x) : 0;
        check("norm", "back", height, width, *at(&back, n, o, y, x), f[0] * through + f[2] * v + f[3], 1);
    }
    free(factors), free(sums), free(lanes), release((Maps[]){in, slope, out, back}, 4);
}

static void try_pool(int height, int width, int gaps) {
    Maps maps[] = {drawn(3, 2 * height, 2 * width, gaps), make_maps(3, height, width, gaps, MARK),
                   drawn(3, height, width, gaps), make_maps(3, 2 * height, 2 * width, gaps, MARK)};
    Between of = {3, height, width, maps[0].map, maps[1].map, maps[2].map, maps[3].map, NULL, NULL, NULL};
    EACH(3, 0, 2 * height, 2 * width) if (*at(&maps[0], n, o, y, x) < 0) *at(&maps[0], n, o, y, x) = 0;  // several largest
    for (int what = POOL; what <= UNPOOL; what++)
        for (int n = 0; n < IMAGES; n++) JOIN(geseg_between_, REAL)(&of, what, n, 0, 3, SET);
    EACH(3, 0, height, width) {
        int first = 0;
        for (int k = 1; k < 4; k++)
            if (*at(&maps[0], n, o, 2 * y + k / 2, 2 * x + k % 2) >
                *at(&maps[0], n, o, 2 * y + first / 2, 2 * x + first % 2)) first = k;
        const REAL most = *at(&maps[0], n, o, 2 * y + first / 2, 2 * x + first % 2);
        check("pool", "out", height, width, *at(&maps[1], n, o, y, x), most, 0);
        for (int k = 0; k < 4; k++)
            check("pool", "back", height, width, *at(&maps[3], n, o, 2 * y + k / 2, 2 * x + k % 2),
                  k == first ? *at(&maps[2], n, o, y, x) : 0, 0);
    }
    release(maps, 4);
}

int main(void) {
    int tried = 0;
    Case c;
    while (read_case(&c)) {
        REAL *bias = allocate(c.layer.out_fields * sizeof(REAL));
        for (int i = 0; i < c.layer.out_fields; i++) bias[i] = 0;
        c.layer.bias = bias, c.layer.relu = 0;
        for (size_t i = 0; i < COUNT(SIZES) * COUNT(STRIPS) * 8; i++) {
            const int s = i / COUNT(STRIPS) / 8, strip = STRIPS[i / 8 % COUNT(STRIPS)], up[] = {i % 2, i / 4 % 2};
            c.layer.height = SIZES[s][0] << (up[0] | up[1]), c.layer.width = SIZES[s][1] << (up[0] | up[1]);
            if (strip < c.layer.width) try_slopes(&c, strip, up, i / 2 % 2), tried++;
        }
    }
    for (size_t s = 0; s < COUNT(SIZES); s++)
        for (int gaps = 0; gaps < 2; gaps++) {
            try_halves(SIZES[s][0], SIZES[s][1], gaps), try_norm(SIZES[s][0], SIZES[s][1], gaps);
            try_pool(SIZES[s][0], SIZES[s][1], gaps), tried += 3;
        }
    printf("%d\n", tried);
    return 0;
}
