// Rows of a steerable layer: into irreps, fixed filters, products, back, norm (folded), ReLU, pooling, head.
//
// Compiled once per number type REAL and instruction set (VECTOR bytes at a time); dispatch.c chooses. A thread works
// through strips of columns from top to bottom and keeps the last few rows of its input, in irreps, in a ring.
#include "input.h"

// ---- Filters ----

// The six of a 3x3 kernel: centre, ring, cos 2a, d/dx, d/dy, sin 2a. The first is the ring's own row.
INLINE void respond_3x3(const Layer *layer, const REAL *const *row, REAL *out, int width) {
    const REAL even = layer->corner_even, odd = layer->corner_odd, *up = row[0], *mid = row[1], *down = row[2];
    for (int x = 0; x < width; x += LANES) {
        const vec nw = load(up + x - 1), n = load(up + x), ne = load(up + x + 1);
        const vec west = load(mid + x - 1), east = load(mid + x + 1);
        const vec sw = load(down + x - 1), s = load(down + x), se = load(down + x + 1);
        const vec across = west + east, along = n + s, right = ne + se, left = nw + sw, top = nw + ne, low = sw + se;
        store(out + x, across + along + even * (left + right));
        store(out + BLOCK + x, along - across);
        store(out + 2 * BLOCK + x, west - east + odd * (left - right));
        store(out + 3 * BLOCK + x, n - s + odd * (top - low));
        store(out + 4 * BLOCK + x, nw - ne - (sw - se));
    }
}

static void respond(const Layer *layer, const REAL *const *row, REAL *out, int width) {
    const int k = layer->kernel_size, reach = k / 2;
    const REAL *value = layer->filter.value;
    for (int f = 1; f < layer->filters; f++)
        for (int x = 0; x < width; x += LANES) {
            vec sum = {0};
            for (int i = layer->filter.start[f]; i < layer->filter.start[f + 1]; i++) {
                const int tap = layer->filter.column[i];
                sum += value[i] * load(row[tap / k] + tap % k - reach + x);
            }
            store(out + (ptrdiff_t)(f - 1) * BLOCK + x, sum);
        }
}

// The sum that row r of a matrix makes of planes.
static void add_planes(const Sparse *m, int r, const REAL *const *plane, REAL *out, int width) {
    const REAL *value = m->value;
#define CALL(wide, x)                                                                             \
    do {                                                                                          \
        vec sum[4] = {{0}};                                                                       \
        for (int i = m->start[r]; i < m->start[r + 1]; i++)                                       \
            for (int v = 0; v < (wide); v++) sum[v] += value[i] * load(plane[m->column[i]] + (x) + v * LANES); \
        for (int v = 0; v < (wide); v++) store(out + (x) + v * LANES, sum[v]);                    \
    } while (0)
    IN_CHUNKS(width, 4, CALL)
#undef CALL
}

// Where the planes of all fields are, for `width` columns from x (of the strip) on in row y.
static void make_planes(const Work *w, int y, int x, int width) {
    const Layer *layer = w->layer;
    const int k = layer->kernel_size, filters = layer->filters;
    const REAL **plane = w->plane, *row[MOST_TAPS];
    REAL *out = w->responses;
    for (int field = 0; field < layer->in_fields; field++) {
        const REAL **of_field = plane;
        for (int p = 0; p < layer->in_size; p++) {
            const ptrdiff_t offset = ((ptrdiff_t)field * layer->in_size + p) * w->pitch + LINE + x;
            for (int i = 0; i < k; i++) row[i] = ring_row(w, y + i - k / 2) + offset;
            *plane++ = row[k / 2];
            if (layer->corner_even != 0 && layer->corner_odd != 0)
                respond_3x3(layer, row, out, width);
            else
                respond(layer, row, out, width);
            for (int f = 1; f < filters; f++, out += BLOCK) *plane++ = out;
        }
        for (int e = 0; e < layer->extras; e++, out += BLOCK) {
            add_planes(&layer->extra, e, of_field, out, width);
            *plane++ = out;
        }
    }
}

// ---- Products ----

INLINE void multiply(int outs, int wide, const Work *w, const Product *p, const REAL *weight, const int32_t *out, int x) {
    vec sum[MOST_OUTS][4];
    for (int o = 0; o < outs; o++)
        for (int v = 0; v < wide; v++) sum[o][v] = (vec){0};
    for (int f = 0; f < p->features; f++, weight += outs) {
        const REAL *plane = w->feature[f] + x;
        vec in[4];
#pragma GCC unroll 4
        for (int v = 0; v < wide; v++) in[v] = load(plane + v * LANES);
#pragma GCC unroll 6
        for (int o = 0; o < outs; o++)
#pragma GCC unroll 4
            for (int v = 0; v < wide; v++) sum[o][v] += weight[o] * in[v];
    }
    for (int o = 0; o < outs; o++)
        for (int v = 0; v < wide; v++) store(w->irreps + (ptrdiff_t)out[o] * BLOCK + x + v * LANES, sum[o][v]);
}

INLINE void multiply_all(int outs, const Work *w, const Product *p, const REAL *weight, const int32_t *out, int width) {
#define CALL(wide, x) multiply(outs, wide, w, p, weight, out, x)
    IN_CHUNKS(width, MOST_WIDE, CALL)
#undef CALL
}

static void apply(const Work *w, const Product *p, int width) {
    const int blocks = (p->outs + MOST_OUTS - 1) / MOST_OUTS;
    const REAL *weight = p->weight;
    for (int f = 0; f < p->features; f++) w->feature[f] = w->plane[p->feature[f]];
    for (int b = 0, done = 0; b < blocks; b++) {
        const int outs = p->outs / blocks + (b < p->outs % blocks);
        switch (outs) {
        case 1: multiply_all(1, w, p, weight, p->out + done, width); break;
        case 2: multiply_all(2, w, p, weight, p->out + done, width); break;
        case 3: multiply_all(3, w, p, weight, p->out + done, width); break;
        case 4: multiply_all(4, w, p, weight, p->out + done, width); break;
        case 5: multiply_all(5, w, p, weight, p->out + done, width); break;
        default: multiply_all(6, w, p, weight, p->out + done, width);
        }
        done += outs;
        weight += (ptrdiff_t)outs * p->features;
    }
}

// ---- The output ----

INLINE vec rectify(vec v, int relu) {
    return relu ? (vec)((mask)v & ~(v <= 0)) : v;  // what is not a number stays so
}

// A row back to the channels of its fields, with bias and ReLU; there are `width` columns.
static void finish(const Work *w, REAL *out, ptrdiff_t channel, int width) {
    const Layer *layer = w->layer;
    const int whole = width / LANES * LANES, relu = layer->relu;
    const REAL *in = w->irreps, *bias = layer->bias;
    for (int field = 0; field < layer->out_fields; field++, in += (ptrdiff_t)layer->out_size * BLOCK)
        for (int c = 0; c < layer->out_size; c++, out += channel) {
#define CALL(wide, x)                                                           \
    do {                                                                        \
        vec sum[4];                                                             \
        add_row(wide, &layer->from_irreps, c, in + (x), BLOCK, bias[field], sum); \
        for (int v = 0; v < (wide); v++) store(out + (x) + v * LANES, rectify(sum[v], relu)); \
    } while (0)
            IN_CHUNKS(whole, 4, CALL)
#undef CALL
            if (whole < width) {
                vec sum[1];
                add_row(1, &layer->from_irreps, c, in + whole, BLOCK, bias[field], sum);
                sum[0] = rectify(sum[0], relu);
                memcpy(out + whole, sum, (width - whole) * sizeof(REAL));
            }
        }
}

static void add_up(const Work *w, const REAL *in, ptrdiff_t channel, REAL *out, int real) {
    const Layer *layer = w->layer;
    const REAL *head = layer->head;
    for (int x = 0; x < real; x++) out[x] = layer->head_bias;
    for (int c = 0; c < layer->out_fields * layer->out_size; c++, in += channel)
        for (int x = 0; x < real; x++) out[x] += head[c] * in[x];
}

INLINE REAL larger(REAL a, REAL b) {
    return a > b || a != a ? a : b;  // what is not a number stays so
}

// Rows y and y + 1 of the strip become one of the pooled map.
static void pool(const Work *w, int y) {
    const Layer *layer = w->layer;
    const int right = w->x0 + w->width < layer->width ? w->x0 + w->width : layer->width;
    for (int c = 0; c < layer->out_fields * layer->out_size; c++) {
        const REAL *a = at(&layer->out, w->image, c, y), *b = at(&layer->out, w->image, c, y + 1);
        REAL *out = at(&layer->pooled, w->image, c, y / 2);
        for (int x = w->x0 / 2; x < right / 2; x++) {
            const REAL l = larger(a[2 * x], b[2 * x]), r = larger(a[2 * x + 1], b[2 * x + 1]);
            out[x] = larger(l, r);
        }
    }
}

static void make_row(const Work *w, int y) {
    const Layer *layer = w->layer;
    const int blocks = (w->width + w->block - 1) / w->block, lines = w->width / LINE;
    for (int b = 0; b < blocks; b++) {
        const int x = lines * b / blocks * LINE, width = lines * (b + 1) / blocks * LINE - x;
        const int left = layer->width - w->x0 - x, real = left < width ? left : width;
        make_planes(w, y, x, width);
        for (int p = 0; p < layer->products; p++) apply(w, &layer->product[p], width);
        REAL *out = layer->out.data ? at(&layer->out, w->image, 0, y) + w->x0 + x : w->result + x;
        const ptrdiff_t channel = layer->out.data ? layer->out.channel : w->pitch;
        finish(w, out, channel, real);
        if (layer->head) add_up(w, out, channel, at(&layer->logits, w->image, 0, y) + w->x0 + x, real);
    }
}

// ---- What is called ----

// Scratch memory as it is handed out; without a base it is only counted.
typedef struct {
    REAL *base;
    int64_t used;
} Memory;

static REAL *take(Memory *memory, int64_t numbers) {
    REAL *start = memory->base ? memory->base + memory->used : NULL;
    memory->used += (numbers + LINE - 1) / LINE * LINE;
    return start;
}

// Memory of a layer for strips of at most `strip` columns.
static void lay_out(const Layer *layer, int strip, Memory *memory, Work *w) {
    const int64_t channels = (int64_t)layer->in_fields * layer->in_size, pitch = strip + 2 * LINE;
    const int64_t planes = layer->in_fields * ((int64_t)layer->in_size * layer->filters + layer->extras);
    const int64_t outs = (int64_t)layer->out_fields * layer->out_size, per = sizeof(void *) / sizeof(REAL);
    const int64_t fit = PLANES / (planes - channels + 1) / LINE * LINE;
    w->block = fit < 2 * LINE ? 2 * LINE : fit > BLOCK ? BLOCK : fit;
    w->layer = layer;
    w->ring = take(memory, layer->kernel_size * channels * pitch);
    w->rows = take(memory, 2 * layer->in_size * pitch);
    w->responses = take(memory, (planes - channels) * BLOCK);
    w->irreps = take(memory, outs * BLOCK);
    w->result = take(memory, layer->out.data ? 0 : outs * pitch);
    w->plane = (const REAL **)take(memory, planes * (per ? per : 1));
    w->feature = (const REAL **)take(memory, planes * (per ? per : 1));
}

static int64_t lay_out_both(const Layer *layer, REAL *base, Work *w, Work *before) {
    Memory memory = {base, 0};
    lay_out(layer, layer->strip, &memory, w);
    w->before = layer->before ? before : NULL;
    if (layer->before) lay_out(layer->before, layer->strip + 2 * LINE, &memory, before);
    return memory.used;
}

static void place(Work *w, int x0, int end) {
    w->x0 = x0;
    w->width = (end - x0 + LINE - 1) / LINE * LINE;
    w->pitch = w->width + 2 * LINE;
}

int64_t JOIN(scratch_, SUFFIX)(const Layer *layer) {
    Work w = {0}, before = {0};
    return lay_out_both(layer, NULL, &w, &before);
}

void JOIN(rows_, SUFFIX)(const Layer *layer, int32_t image, int32_t first, int32_t last, void *scratch) {
    Work w = {.image = image}, before = {.image = image};
    lay_out_both(layer, scratch, &w, &before);
    const int reach = layer->kernel_size / 2;
    for (int x0 = 0; x0 < layer->width; x0 += layer->strip) {
        place(&w, x0, x0 + layer->strip < layer->width ? x0 + layer->strip : layer->width);
        if (w.before) {
            const int own = layer->before->kernel_size / 2, top = first - reach > 0 ? first - reach : 0;
            place(&before, first_needed(&w), end_needed(&w));
            for (int y = top - own; y < top + own; y++) fetch_row(&before, y);
        }
        for (int y = first - reach; y < first + reach; y++) fetch_row(&w, y);
        for (int y = first; y < last; y++) {
            fetch_row(&w, y + reach);
            make_row(&w, y);
            if (layer->pooled.data && y % 2) pool(&w, y - 1);
        }
    }
}
