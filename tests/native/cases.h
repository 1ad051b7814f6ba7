// What both C tests of the kernel share: layers that are read, and maps.
//
// Standard input has layers in words and numbers, as test_sanitized.py writes them. Every map, every table and the
// scratch memory are allocated at exactly their sizes, so that the address sanitizer sees what is read or written beyond.
#ifndef CASES_H
#define CASES_H
#include "kernel.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define MARK ((REAL)777.25)
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define EACH(channels, first, last, width)                  \
    for (int n = 0; n < IMAGES; n++)                        \
        for (int o = 0; o < (channels); o++)                \
            for (int y = (first); y < (last); y++)          \
                for (int x = 0; x < (width); x++)
enum { IMAGES = 2, GAP = 5 };

typedef struct {  // what is tried: fields in one part or in two, which of them are upsampled, and what comes out
    const char *name;
    int parts, upsampled[2], out, pooled, head;
} Mode;

typedef struct {
    char name[64];
    const Mode *mode;
    Layer layer;
    REAL *kernel, *head;  // [out channels][in channels][k][k], [out channels]
} Case;

typedef struct {
    Map map;
    int64_t numbers;
    int channels, height, width;
} Maps;

static uint32_t state = 1;

static double draw(void) {  // in [-1, 1): xorshift
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    return state / 2147483648.0 - 1;
}

static void *allocate(int64_t bytes) {
    void *memory = malloc(bytes);
    if (!memory) abort();
    return memory;
}

// ---- What is read ----

static double number(void) {
    double value;
    if (scanf("%lf", &value) != 1) exit(puts("a number is missing"));
    return value;
}

#define READER(name, type)                                                     \
    static type *name(int64_t count) {                                          \
        type *values = allocate(count * sizeof(type));                          \
        for (int64_t i = 0; i < count; i++) values[i] = (type)number();         \
        return values;                                                          \
    }
READER(reals, REAL)
READER(whole, int32_t)

static Sparse sparse(int rows) {
    const int32_t *start = whole(rows + 1), *column = whole(start[rows]);
    return (Sparse){start, column, reals(start[rows])};
}

static int read_case(Case *c) {
    if (scanf("%63s", c->name) != 1) return 0;
    Layer *l = &c->layer;
    *l = (Layer){0};
    int32_t *const sizes[] = {&l->in_size,     &l->out_size, &l->in_fields, &l->out_fields, &l->mirrored,
                              &l->kernel_size, &l->filters,  &l->extras,    &l->products,   &l->relu};
    for (size_t i = 0; i < COUNT(sizes); i++) *sizes[i] = (int32_t)number();
    l->even = number(), l->odd = number(), l->head_bias = number();
    l->pairing = number() ? whole(l->in_size) : NULL;
    l->filter = sparse(l->filters), l->extra = sparse(l->extras);
    Product *product = allocate(l->products * sizeof(Product));
    for (int i = 0; i < l->products; i++) {
        const int outs = (int)number(), features = (int)number();
        const int32_t *out = whole(outs), *feature = whole(features);
        product[i] = (Product){outs, features, out, feature, reals((int64_t)outs * features)};
    }
    const int outs = l->out_fields * l->out_size, ins = l->in_fields * l->in_size;
    l->product = product;
    l->bias = reals(l->out_fields), c->head = reals(outs);
    c->kernel = reals((int64_t)outs * ins * l->kernel_size * l->kernel_size);
    return 1;
}

// ---- Maps ----

// Row after row of a channel, or the channels of a row side by side with gaps; nothing follows the last row.
static Maps make_maps(int channels, int height, int width, int gaps, REAL fill) {
    const int64_t row = gaps ? (int64_t)channels * (width + GAP) : width;
    const int64_t channel = gaps ? width + GAP : (int64_t)height * width;
    const int64_t image = gaps ? height * row : channels * channel;
    Maps m = {{NULL, image, channel, row}, 0, channels, height, width};
    m.numbers = (IMAGES - 1) * image + (channels - 1) * channel + (height - 1) * row + width;
    REAL *data = m.map.data = allocate(m.numbers * sizeof(REAL));
    for (int64_t i = 0; i < m.numbers; i++) data[i] = fill;
    return m;
}

static REAL *at(const Maps *m, int image, int channel, int y, int x) {
    return (REAL *)m->map.data + image * m->map.image + channel * m->map.channel + y * m->map.row + x;
}

static int inside(int i, int size) { return i < 0 ? 0 : i >= size ? size - 1 : i; }

// A pixel of the input, of a map half as large if it is upsampled: bilinear, its corners not aligned.
static double pixel(const Maps *m, int upsampled, int n, int c, int y, int x) {
    if (!upsampled) return *at(m, n, c, y, x);
    const double up = (y + 0.5) / 2 - 0.5, left = (x + 0.5) / 2 - 0.5;
    const int i = (int)floor(up), j = (int)floor(left);
    double sum = 0;
    for (int k = 0; k < 4; k++) {
        const double weight = (k / 2 ? up - i : 1 - (up - i)) * (k % 2 ? left - j : 1 - (left - j));
        sum += weight * *at(m, n, c, inside(i + k / 2, m->height), inside(j + k % 2, m->width));
    }
    return sum;
}
#endif
