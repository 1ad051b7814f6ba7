// What all of the kernel works with: vectors of numbers, and the memory of a thread. For one REAL and VECTOR at a time.
#ifndef GESEG_WORK_H
#define GESEG_WORK_H
#include "kernel.h"
#include <stddef.h>
#include <string.h>

typedef REAL vec __attribute__((vector_size(VECTOR)));
typedef WHOLE mask __attribute__((vector_size(VECTOR)));
typedef REAL loose __attribute__((vector_size(VECTOR), aligned(sizeof(REAL)), may_alias));
enum { LANES = VECTOR / sizeof(REAL), MOST_WIDE = VECTOR == 64 ? 4 : 2, BLOCK = 96, PLANES = 1 << 17 };
#define INLINE static inline __attribute__((always_inline))
#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)

typedef struct Work {
    const Layer *layer;
    const struct Work *before;  // of the layer before, if that is not a map
    int image;
    int x0, width;         // the strip: its first column, and columns, a multiple of LINE
    int block;             // columns that are computed at a time
    int pitch;             // numbers of a row of the ring: the strip and a LINE at either side
    REAL *ring;            // [kernel_size][channels][pitch]
    REAL *rows;            // [2][in_size, or out_size if larger and learned][pitch]: a field as it comes, and in irreps
    REAL *responses;       // [planes beside those of the ring][BLOCK]
    REAL *irreps;          // [out channels][BLOCK]
    REAL *result;          // [out channels][pitch]: a row, where there is no map to write to
    const REAL **plane;    // [in_fields][in_size * filters + extras]
    const REAL **feature;  // [planes]
    REAL *slopes;          // [out channels][pitch]: a row of the slope, in irreps
    REAL *sums;            // of a gradient, per weight a vector whose sum it is
} Work;

static REAL *at(const Map *map, int image, int channel, int row) {
    return (REAL *)map->data + image * map->image + channel * map->channel + row * map->row;
}

INLINE vec load(const REAL *p) { return *(const loose *)p; }
INLINE void store(REAL *p, vec v) { *(loose *)p = v; }

// What is not a number stays so.
INLINE vec positive(vec v) { return (vec)((mask)v & ~(v <= 0)); }
INLINE REAL larger(REAL a, REAL b) { return a > b || a != a ? a : b; }

// Does `call(wide, x)` for chunks of at most `most` vectors, as even as can be, that make up `width` numbers.
#define IN_CHUNKS(width, most, call)                                               \
    for (int x = 0, left = (width) / LANES; left > 0;) {                           \
        const int many = (left + (most) - 1) / (most), wide = (left + many - 1) / many; \
        if ((most) > 3 && wide == 4) call(4, x);                                   \
        else if ((most) > 2 && wide == 3) call(3, x);                              \
        else if (wide == 2) call(2, x);                                            \
        else call(1, x);                                                           \
        x += wide * LANES;                                                         \
        left -= wide;                                                              \
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

// A block of rows of a product: the first one, and how many.
typedef struct {
    int first, count;
} Rows;

INLINE int count_rows(const Product *p) { return (p->outs + MOST_OUTS - 1) / MOST_OUTS; }

INLINE Rows rows_of(const Product *p, int block) {
    const int blocks = count_rows(p), each = p->outs / blocks, more = p->outs % blocks;
    return (Rows){block * each + (block < more ? block : more), each + (block < more)};
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
