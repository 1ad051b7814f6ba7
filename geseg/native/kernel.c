// Rows of a steerable layer: into irreps, fixed filters, products, back, norm (folded), ReLU, pooling, head.
//
// Compiled once per number type REAL and instruction set (VECTOR bytes at a time); dispatch.c chooses. A thread works
// through strips of columns from top to bottom and keeps the last few rows of its input, in irreps, in a ring.
#include "between.h"
#include "gradient.h"
#include "halve.h"
#include "planes.h"

// ---- Products ----

// A block of rows of a product, and the columns of some fields, added to those of fields before.
typedef struct {
    const REAL *weight;
    const int32_t *out;
    int columns, more;
} Factors;

INLINE void multiply(int outs, int wide, const Work *w, Factors by, int x) {
    REAL *const to = w->irreps + x;
    const REAL *weight = by.weight;
    vec sum[MOST_OUTS][4];
    for (int o = 0; o < outs; o++)
        for (int v = 0; v < wide; v++) sum[o][v] = by.more ? load(to + (ptrdiff_t)by.out[o] * BLOCK + v * LANES) : (vec){0};
    for (int f = 0; f < by.columns; f++, weight += outs) {
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
        for (int v = 0; v < wide; v++) store(to + (ptrdiff_t)by.out[o] * BLOCK + v * LANES, sum[o][v]);
}

INLINE void multiply_all(int outs, const Work *w, Factors by, int width) {
    const int most = 2 * outs <= MOST_OUTS && MOST_WIDE < 3 ? 3 : MOST_WIDE;  // few rows leave registers for a third vector
#define CALL(wide, first) multiply(outs, wide, w, by, first * LANES)
    IN_CHUNKS(width / LANES, most, CALL)
#undef CALL
}

static void apply(const Work *w, const Product *p, Fields fields, int width) {
    gather(w, p, fields);
    for (int b = 0; b < count_rows(p); b++) {
        const Rows rows = rows_of(p, b);
        const REAL *weight = (const REAL *)p->weight + start_of(w, p, rows, fields);
        const Factors by = {weight, p->out + rows.first, columns_of(w, p, fields), fields.first > 0};
#define CALL(outs) multiply_all(outs, w, by, width)
        WITH_OUTS(rows.count, CALL)
#undef CALL
    }
}

// ---- The output ----

// A row back to the channels of its fields, with bias and ReLU; there are `width` columns.
static void finish(const Work *w, REAL *out, ptrdiff_t channel, int width) {
    const Layer *layer = w->layer;
    const REAL *in = w->irreps, *bias = layer->bias;
    const int size = layer->out_size;
    for (int field = 0; field < layer->out_fields; field++, in += (ptrdiff_t)size * BLOCK, out += size * channel)
        to_field(size, layer->mirrored, in, BLOCK, out, channel, width, bias[field], layer->relu);
}

static void add_up(const Work *w, const REAL *in, ptrdiff_t channel, REAL *out, int real) {
    const Layer *layer = w->layer;
    const REAL *head = layer->head;
    for (int x = 0; x < real; x++) out[x] = layer->head_bias;
    for (int c = 0; c < layer->out_fields * layer->out_size; c++, in += channel)
        for (int x = 0; x < real; x++) out[x] += head[c] * in[x];
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

// A block of columns of row y, whose irreps are there.
static void give_block(const Work *w, int y, Columns b) {
    const Layer *layer = w->layer;
    REAL *out = layer->out.data ? at(&layer->out, w->image, 0, y) + w->x0 + b.x : w->result + b.x;
    const ptrdiff_t channel = layer->out.data ? layer->out.channel : w->pitch;
    finish(w, out, channel, b.real);
    if (layer->head) add_up(w, out, channel, at(&layer->logits, w->image, 0, y) + w->x0 + b.x, b.real);
}

// What row y adds to the sums, if it learns, and the row itself where it is wanted: planes serve for both.
static void make_row(const Work *w, int y) {
    const Layer *layer = w->layer;
    const int learns = layer->slope.map.data != NULL, gives = layer->out.data || !learns;
    if (learns) fetch_part(w, &layer->slope, layer->out_size, y, w->slopes);
    for (int i = 0; i < count_blocks(w); i++) {
        const Columns b = block_of(w, i);
        for (int first = 0; first < layer->in_fields; first += w->fields) {
            const Fields fields = fields_from(w, first);
            make_planes(w, fields, y, b.x, b.width);
            if (learns) learn_block(w, fields, b);
            for (int p = 0; p < layer->products && gives; p++) apply(w, &layer->product[p], fields, b.width);
        }
        if (gives) give_block(w, y, b);
    }
}

// A row of the output, and with the one above it one of the pooled map.
static void give_row(const Work *w, int y) {
    make_row(w, y);
    if (w->layer->pooled.data && y % 2) pool(w, y - 1);
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
    const int64_t own = (int64_t)layer->in_size * (layer->filters - 1) + layer->extras;  // planes of a field beside the ring's
    const int64_t outs = (int64_t)layer->out_fields * layer->out_size, per = sizeof(void *) / sizeof(REAL);
    const int learns = layer->slope.map.data != NULL;
    const int size = learns && layer->out_size > layer->in_size ? layer->out_size : layer->in_size;
    const int64_t columns = PLANES / (own + 1) / LINE * LINE, many = PLANES / (own + 1) / BLOCK;
    w->block = columns < 2 * LINE ? 2 * LINE : columns > BLOCK ? BLOCK : columns;
    w->fields = many < 1 ? 1 : many > layer->in_fields ? layer->in_fields : many;
    const int64_t planes = w->fields * (own + layer->in_size);
    w->layer = layer;
    w->ring = take(memory, layer->kernel_size * channels * pitch);
    w->rows = take(memory, 2 * size * pitch);
    w->responses = take(memory, w->fields * own * BLOCK);
    w->irreps = take(memory, outs * BLOCK);
    w->result = take(memory, layer->out.data ? 0 : outs * pitch);
    w->plane = (const REAL **)take(memory, planes * (per ? per : 1));
    w->feature = (const REAL **)take(memory, planes * (per ? per : 1));
    w->slopes = take(memory, learns ? outs * pitch : 0);
    w->sums = take(memory, learns ? count_sums(layer) * LINE : 0);
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

// Does something with each row of all strips, whose input lies in the ring then.
static void each_row(Work *w, Work *before, int first, int last, void (*use)(const Work *, int)) {
    const Layer *layer = w->layer;
    const int reach = layer->kernel_size / 2;
    for (int x0 = 0; x0 < layer->width; x0 += layer->strip) {
        place(w, x0, x0 + layer->strip < layer->width ? x0 + layer->strip : layer->width);
        if (w->before) {
            const int own = layer->before->kernel_size / 2, top = first - reach > 0 ? first - reach : 0;
            place(before, first_needed(w), end_needed(w));
            for (int y = top - own; y < top + own; y++) fetch_row(before, y);
        }
        for (int y = first - reach; y < first + reach; y++) fetch_row(w, y);
        for (int y = first; y < last; y++) {
            fetch_row(w, y + reach);
            use(w, y);
        }
    }
}

void JOIN(rows_, SUFFIX)(const Layer *layer, int32_t image, int32_t first, int32_t last, void *scratch) {
    Work w = {.image = image}, before = {.image = image};
    lay_out_both(layer, scratch, &w, &before);
    each_row(&w, &before, first, last, give_row);
}

void JOIN(slopes_, SUFFIX)(const Layer *layer, int32_t image, int32_t first, int32_t last, void *scratch, REAL *slopes) {
    Work w = {.image = image}, before = {.image = image};
    lay_out_both(layer, scratch, &w, &before);
    memset(w.sums, 0, count_sums(layer) * LINE * sizeof(REAL));
    each_row(&w, &before, first, last, make_row);
    add_sums(&w, slopes);
}
