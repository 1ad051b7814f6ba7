// Compares the kernel with a dense convolution in plain C. test_sanitized.py compiles and runs it.
//
// What the kernel must not use is not a number; what it must leave alone is MARK.
#include "cases.h"
#include <string.h>

static const Mode MODES[] = {
    {"one part", 1, {0, 0}, 1, 0, 0},
    {"one part to a head", 1, {0, 0}, 0, 0, 1},
    {"one part, pooled", 1, {0, 0}, 1, 1, 0},
    {"one part, upsampled, with a head", 1, {1, 0}, 1, 0, 1},
    {"two parts to a head", 2, {0, 0}, 0, 0, 1},
    {"two parts, the second upsampled, pooled, with a head", 2, {0, 1}, 1, 1, 1},
    {"two parts, the first upsampled", 2, {1, 0}, 1, 0, 0},
};
static const int SIZES[][2] = {{1, 1}, {1, 17}, {2, 2}, {4, 2}, {17, 12}, {5, 15}, {6, 16}, {2, 34}, {3, 95}, {2, 96},
                               {4, 98}, {1, 193}};
static const int STRIPS[] = {16, 48, 112, 0};  // 0: the whole width

// ---- The same in plain C ----

static double *whole_input(const Mode *mode, const Maps *in, int height, int width) {
    const int channels = in[0].channels + (mode->parts == 2 ? in[1].channels : 0);
    double *all = allocate((int64_t)IMAGES * channels * height * width * sizeof(double)), *next = all;
    EACH(channels, 0, height, width) {
        const int p = o >= in[0].channels;
        *next++ = pixel(&in[p], mode->upsampled[p], n, p ? o - in[0].channels : o, y, x);
    }
    return all;
}

static double one_output(const Case *c, const double *in, int o, int y, int x) {
    const Layer *l = &c->layer;
    const int k = l->kernel_size, ins = l->in_fields * l->in_size;
    const REAL *bias = l->bias, *kernel = c->kernel + (int64_t)o * ins * k * k;
    double sum = bias[o / l->out_size];
    for (int i = 0; i < ins; i++)
        for (int t = 0; t < k * k; t++) {
            const int row = y + t / k - k / 2, column = x + t % k - k / 2;
            if (row >= 0 && row < l->height && column >= 0 && column < l->width)
                sum += kernel[(int64_t)i * k * k + t] * in[((int64_t)i * l->height + row) * l->width + column];
        }
    return l->relu && sum < 0 ? 0 : sum;
}

static double *expected(const Case *c, const double *in) {
    const Layer *l = &c->layer;
    const int64_t ins = (int64_t)l->in_fields * l->in_size * l->height * l->width;
    const int outs = l->out_fields * l->out_size;
    double *all = allocate((int64_t)IMAGES * outs * l->height * l->width * sizeof(double)), *next = all;
    EACH(outs, 0, l->height, l->width) *next++ = one_output(c, in + n * ins, o, y, x);
    return all;
}

// ---- Comparisons ----

static double wanted_pixel(const Case *c, const double *want, int n, int o, int y, int x) {
    const Layer *l = &c->layer;
    return want[(((int64_t)n * l->out_fields * l->out_size + o) * l->height + y) * l->width + x];
}

static double wanted_logit(const Case *c, const double *want, int n, int y, int x) {
    double sum = c->layer.head_bias;
    for (int o = 0; o < c->layer.out_fields * c->layer.out_size; o++)
        sum += c->head[o] * wanted_pixel(c, want, n, o, y, x);
    return sum;
}

static double wanted_pooled(const Case *c, const double *want, int n, int o, int y, int x) {
    double most = -INFINITY;
    for (int k = 0; k < 4; k++) most = fmax(most, wanted_pixel(c, want, n, o, 2 * y + k / 2, 2 * x + k % 2));
    return most;
}

// Compares the rows first .. last - 1 (of the layer), and frees the maps; all else is to be MARK.
static void check(const Case *c, const char *what, Maps *m, const double *want, int first, int last) {
    const int pooled = *what == 'p';
    EACH(m->channels, first >> pooled, last >> pooled, m->width) {
        const double found = *at(m, n, o, y, x), wanted = pooled        ? wanted_pooled(c, want, n, o, y, x)
                                                          : *what == 'o' ? wanted_pixel(c, want, n, o, y, x)
                                                                         : wanted_logit(c, want, n, y, x);
        if (!(fabs(found - wanted) <= (sizeof(REAL) == 4 ? 2e-5 : 1e-9) * (1 + fabs(wanted)))) {
            printf("%s%s, %s, %dx%d, strips of %d: %s[%d][%d][%d][%d] is %.9g, not %.9g\n",
                   c->name, c->layer.before ? " after another" : "", c->mode->name, c->layer.height, c->layer.width,
                   c->layer.strip, what, n, o, y, x, found, wanted);
            exit(1);
        }
        *at(m, n, o, y, x) = MARK;
    }
    for (int64_t i = 0; i < m->numbers; i++)
        if (((REAL *)m->map.data)[i] != MARK) {
            printf("%s, %s, %dx%d: wrote %s at %lld\n", c->name, c->mode->name, c->layer.height, c->layer.width, what,
                   (long long)i);
            exit(1);
        }
    free(m->map.data);
}

// Rows first .. last - 1 of all images, `step` at a time, with scratch memory of which nothing is a number.
static void run(const Layer *layer, int first, int last, int step) {
    const int64_t bytes = geseg_scratch(layer) * (int64_t)sizeof(REAL);
    void *scratch;
    if (posix_memalign(&scratch, 64, bytes)) abort();
    for (int n = IMAGES - 1; n >= 0; n--)
        for (int y = first; y < last; y += step) {
            memset(scratch, 0xff, bytes);
            JOIN(geseg_rows_, REAL)(layer, n, y, y + step < last ? y + step : last, scratch, SET);
        }
    free(scratch);
}

static void try_strip(Case *c, int strip, int gaps, const double *want) {
    Layer *l = &c->layer;
    const Mode *mode = c->mode;
    const int channels = l->out_fields * l->out_size, h = l->height, w = l->width;
    const int first = gaps && h > 4 ? 2 : 0, last = gaps && h > 5 ? 4 : h;  // with gaps, not all rows of high images
    Maps out = make_maps(mode->out ? channels : 1, h, w, gaps, MARK);
    Maps pooled = make_maps(mode->pooled ? channels : 1, (h + 1) / 2, (w + 1) / 2, gaps, MARK);
    Maps logits = make_maps(1, h, w, gaps, MARK);
    l->strip = strip ? strip : (w + LINE - 1) / LINE * LINE;
    l->out = mode->out ? out.map : (Map){0};
    l->pooled = mode->pooled ? pooled.map : (Map){0};
    l->logits = mode->head ? logits.map : (Map){0};
    l->head = mode->head ? c->head : NULL;
    run(l, first, last, gaps ? h + 2 : 2);
    check(c, "out", &out, want, mode->out ? first : 0, mode->out ? last : 0);
    check(c, "pooled", &pooled, want, mode->pooled ? first : 0, mode->pooled ? last : 0);
    check(c, "logits", &logits, want, mode->head ? first : 0, mode->head ? last : 0);
}

// A layer, or two of which the kernel keeps what lies between to itself; how often it was tried.
static int try_mode(Case *c, Case *before, const Mode *mode, int gaps) {
    const int halves = mode->upsampled[0] || mode->upsampled[1] || mode->pooled;
    Layer *l = before ? &before->layer : &c->layer;
    if ((halves && (c->layer.height % 2 || c->layer.width % 2)) || l->in_fields < mode->parts) return 0;
    l->height = c->layer.height, l->width = c->layer.width;
    l->out = l->pooled = l->logits = (Map){0}, l->head = NULL, l->before = NULL;
    Part part[2];
    Maps in[2];
    for (int p = 0; p < mode->parts; p++) {
        const int half = l->in_fields / 2, fields = mode->parts == 1 ? l->in_fields : p ? l->in_fields - half : half;
        const int shrink = mode->upsampled[p];
        in[p] = make_maps(fields * l->in_size, l->height >> shrink, l->width >> shrink, gaps, (REAL)NAN);
        EACH(in[p].channels, 0, in[p].height, in[p].width) *at(&in[p], n, o, y, x) = (REAL)draw();
        part[p] = (Part){.map = in[p].map, .fields = fields, .upsampled = shrink};
    }
    l->part = part, l->parts = mode->parts;
    double *all = whole_input(mode, in, l->height, l->width), *between = before ? expected(before, all) : NULL;
    double *want = expected(c, before ? between : all);
    int done = 0;
    c->mode = mode;
    if (before) c->layer.before = l, c->layer.part = NULL, c->layer.parts = 0;
    for (size_t s = 0; s < COUNT(STRIPS); s++)
        if (STRIPS[s] < l->width) try_strip(c, STRIPS[s], gaps, want), done++;
    for (int p = 0; p < mode->parts; p++) free(in[p].map.data);
    free(all), free(between), free(want);
    return done;
}

int main(void) {
    Case c, last = {0};
    int alone = 0, pairs = 0;
    for (; read_case(&c); last = c)
        for (size_t i = 0; i < COUNT(SIZES) * COUNT(MODES); i++) {
            const size_t s = i / COUNT(MODES), m = i % COUNT(MODES);
            const int fits = c.layer.in_size == last.layer.out_size && c.layer.in_fields == last.layer.out_fields;
            c.layer.height = SIZES[s][0], c.layer.width = SIZES[s][1];
            alone += try_mode(&c, NULL, &MODES[m], (s + m) % 2);
            if (fits) pairs += try_mode(&c, &last, &MODES[m], (s + m + 1) % 2);
        }
    printf("%d %d\n", alone, pairs);
    return 0;
}
