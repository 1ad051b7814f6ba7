// What all of the kernel works with: vectors of numbers, and the memory of a thread. For one REAL and VECTOR at a time.
#ifndef GESEG_WORK_H
#define GESEG_WORK_H
#include "kernel.h"
#include <stddef.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

typedef REAL vec __attribute__((vector_size(VECTOR)));
typedef WHOLE mask __attribute__((vector_size(VECTOR)));
typedef REAL loose __attribute__((vector_size(VECTOR), aligned(sizeof(REAL)), may_alias));
enum { LANES = VECTOR / sizeof(REAL), MOST_WIDE = VECTOR == 64 ? 4 : 2, BLOCK = 192, PLANES = 1 << 16 };
#define INLINE static inline __attribute__((always_inline))
#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)

typedef struct Work {
    const Layer *layer;
    const struct Work *before;  // of the layer before, if that is not a map
    int image;
    int x0, width;         // the strip: its first column, and columns, a multiple of LINE
    int block, fields;     // columns, and fields of the input, that are computed at a time
    int pitch;             // numbers of a row of the ring: the strip and a LINE at either side
    REAL *ring;            // [kernel_size][channels][pitch]
    REAL *rows;            // [2][in_size, or out_size if larger and learned][pitch]: a field as it comes, and in irreps
    REAL *responses;       // [planes of so many fields beside those of the ring][BLOCK]
    REAL *irreps;          // [out channels][BLOCK]
    REAL *result;          // [out channels][pitch]: a row, where there is no map to write to
    const REAL **plane;    // [fields][in_size * filters + extras]
    const REAL **feature;  // [planes]: those of a product, one after the other
    REAL *slopes;          // [out channels][pitch]: a row of the slope, in irreps
    REAL *sums;            // of a gradient, per weight a vector whose sum it is
} Work;

static REAL *at(const Map *map, int image, int channel, int row) {
    return (REAL *)map->data + image * map->image + channel * map->channel + row * map->row;
}

// Those of a channel, or null.
INLINE const REAL *factors_of(const void *factors, int channel) {
    return factors ? (const REAL *)factors + 4 * channel : NULL;
}

INLINE vec load(const REAL *p) { return *(const loose *)p; }
INLINE void store(REAL *p, vec v) { *(loose *)p = v; }

// The sum and the difference take their places.
INLINE void butterfly(vec *one, vec *two) {
    const vec sum = *one + *two;
    *two = *one - *two, *one = sum;
}

// What is not a number stays so.
INLINE vec positive(vec v) { return (vec)((mask)v & ~(v <= 0)); }
INLINE REAL larger(REAL a, REAL b) { return a > b || a != a ? a : b; }

// What a part with factors is read as (see kernel.h).
INLINE vec rectify(const REAL *f, vec v) { return positive(f[0] * v + f[1]); }
INLINE REAL rectify_one(const REAL *f, REAL v) {
    const REAL z = f[0] * v + f[1];
    return z <= 0 ? 0 : z;
}
INLINE vec let_through(const REAL *f, vec v, vec slope) { return (vec)((mask)slope & ~(f[0] * v + f[1] <= 0)); }
INLINE vec denormalise(const REAL *f, vec v, vec slope) { return f[0] * let_through(f, v, slope) + f[2] * v + f[3]; }

// Does `call(many, first)`, `many` a constant, for chunks of at most `most`, as even as can be, that make up `all`.
#define IN_CHUNKS(all, most, call)                                                   \
    for (int first = 0, left = (all); left > 0;) {                                   \
        const int chunks = (left + (most) - 1) / (most), many = (left + chunks - 1) / chunks; \
        if ((most) > 3 && many == 4) call(4, first);                                 \
        else if ((most) > 2 && many == 3) call(3, first);                            \
        else if (many == 2) call(2, first);                                          \
        else call(1, first);                                                         \
        first += many;                                                               \
        left -= many;                                                                \
    }

// A block of columns of a strip: the first one, how many, and how many of them are in the image.
typedef struct {
    int x, width, real;
} Columns;

INLINE int count_blocks(const Work *w) { return (w->width + w->block - 1) / w->block; }

INLINE Columns block_of(const Work *w, int block) {
    const int blocks = count_blocks(w), lines = w->width / LINE, x = lines * block / blocks * LINE;
    const int width = lines * (block + 1) / blocks * LINE - x, left = w->layer->width - w->x0 - x;
    return (Columns){x, width, left < width ? left : width};
}

// Fields of the input that are computed together: first .. last - 1.
typedef struct {
    int first, last;
} Fields;

INLINE Fields fields_from(const Work *w, int first) {
    const int all = w->layer->in_fields;
    return (Fields){first, first + w->fields < all ? first + w->fields : all};
}

// How many columns of a product belong to some fields.
INLINE int columns_of(const Work *w, const Product *p, Fields f) {
    return p->features / w->layer->in_fields * (f.last - f.first);
}

// Brings their planes together, whose places are those of as many first fields.
INLINE void gather(const Work *w, const Product *p, Fields f) {
    for (int i = 0; i < columns_of(w, p, f); i++) w->feature[i] = w->plane[p->feature[i]];
}

// A block of rows of a product: the first one, and how many.
typedef struct {
    int first, count;
} Rows;

INLINE int count_rows(const Product *p) { return (p->outs + MOST_OUTS - 1) / MOST_OUTS; }

INLINE Rows rows_of(const Product *p, int block) {
    const int blocks = count_rows(p), each = p->outs / blocks, more = p->outs % blocks;
    return (Rows){block * each + (block < more ? block : more), each + (block < more)};
}

// Where the weights of such a block begin that belong to some fields.
INLINE ptrdiff_t start_of(const Work *w, const Product *p, Rows rows, Fields f) {
    return (ptrdiff_t)rows.first * p->features + (ptrdiff_t)columns_of(w, p, (Fields){0, f.first}) * rows.count;
}

// Does `call(outs)` with a constant in place of a number of rows.
#define WITH_OUTS(outs, call)   \
    switch (outs) {             \
    case 1: call(1); break;     \
    case 2: call(2); break;     \
    case 3: call(3); break;     \
    case 4: call(4); break;     \
    case 5: call(5); break;     \
    default: call(MOST_OUTS);   \
    }
#endif
