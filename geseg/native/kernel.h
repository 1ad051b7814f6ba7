// One layer of a steerable U-Net as the kernel sees it: what geseg/native/library.py fills in, field by field.
//
// Numbers are float or double throughout a layer ("real" below). Maps are real[image][channel][row][column] with any
// distance between images, channels and rows, columns side by side. Indices count from 0.
#ifndef GESEG_KERNEL_H
#define GESEG_KERNEL_H
#include <stdint.h>

enum { LINE = 16 };      // buffers of a thread begin and end at multiples of so many numbers, beyond which nothing is read
enum { MOST_TAPS = 15 };  // of a kernel, along a side
enum { MOST_SIZE = 16 };  // channels of a field
enum { MOST_OUTS = 6 };   // rows of a product that are computed at a time: their sums stay in registers

// How a channel of a 3x3 layer is computed: by itself; with the next one, adding up their FIRST harmonics, or these and the
// second ones (pairs.py); or as the second of a pair, which is done already.
enum { ALONE, FIRST, BOTH, SECOND };

typedef struct {
    void *data;  // or null
    int64_t image, channel, row;  // distances, in numbers
} Map;

typedef struct {  // a stack of fields, of which a layer has one or more as its input
    Map map;
    int32_t fields, upsampled;  // if upsampled, the map has half the height and width of the layer (bilinear, edges kept)
    const void *factors;        // or null, if it is read as it is: real[channels][4], of which more below
    Map slope;                  // of the same size, or null
} Part;

// Maps while a net learns, before a norm and the ReLU after it, which are the first two of the factors:
// z = ReLU(scale * map + shift) is read, or, with a slope, which is the gradient of z, that of the map itself:
// scale * slope where the ReLU lets it through + b * map + c.

typedef struct {  // a sparse matrix, row by row: the columns and values of row r are at start[r] .. start[r + 1] - 1
    const int32_t *start, *column;
    const void *value;
} Sparse;

typedef struct {  // outputs[o] = sum over f of weight[o][f] * planes[f]: one component of one irrep
    int32_t outs, features;
    const int32_t *out, *feature;  // which plane of irreps each row is, and which plane each column; as many of each field
    const void *weight;            // blocks of rows, as even as can be, at most MOST_OUTS; each real[features][rows]
} Product;

typedef struct Layer {
    const struct Layer *before;  // or null: a layer whose maps are used row by row as they are made, in place of parts
    int32_t height, width;
    int32_t in_size, out_size, in_fields, out_fields;  // channels of a field; fields of all parts together
    int32_t mirrored;  // 1 if the group has reflections: half of the channels of a regular field are theirs
    int32_t kernel_size, filters, extras;  // filters of a channel; sums of planes that features of a field need
    int32_t parts, products, strip;        // strip: columns that a thread works on at a time, a multiple of LINE
    const Part *part;
    Sparse filter, extra;
    const int32_t *pairing;  // or null; of each channel of a field, if filters and sums are those that planes.h knows
    double even, odd;        // corners of these filters
    const Product *product;
    const void *bias;  // real[out_fields], of all channels of a field
    int32_t relu;
    const void *head;  // or null: real[out channels], a 1x1 convolution to a single map, the logits
    double head_bias;
    Map out, pooled, logits;  // any may be missing; pooled, which needs out: the largest of 2x2 values, half as high and wide
    Part slope;  // its map may be null: the gradient of the maps before bias and ReLU, for that of the weights
} Layer;

typedef struct {  // what lies between convolutions while a net learns, channel by channel
    int32_t channels, height, width;  // of the maps; of the smaller ones, where they are pooled
    Map in, out, slope, back;         // slope is the gradient of z or out, back that of z
    const void *factors;              // real[channels][4]
    double *sums;                     // [images][channels][2]; where they are found, those of the channels start anew
    void *lanes;                      // real[images][channels][2][LINE]: where they are found, memory to do it in
} Between;

// What this library was compiled from, in hexadecimal.
const char *geseg_sources(void);

// The instruction sets that this processor and this build share: 1 is portable, 2 AVX2, 3 AVX-512.
int32_t geseg_best_set(void);

// Numbers of scratch memory that a thread needs for a layer.
int64_t geseg_scratch(const Layer *layer);

// Rows first .. last - 1 of an image (first even), with scratch memory that begins at a multiple of 64 bytes.
void geseg_rows_float(const Layer *layer, int32_t image, int32_t first, int32_t last, void *scratch, int32_t set);
void geseg_rows_double(const Layer *layer, int32_t image, int32_t first, int32_t last, void *scratch, int32_t set);

// The gradient of all weights, in their order in memory, product after product, over the same rows of an image; and
// these rows themselves, if there is an `out`.
void geseg_slopes_float(const Layer *layer, int32_t image, int32_t first, int32_t last, void *scratch, int32_t set,
                        float *slopes);
void geseg_slopes_double(const Layer *layer, int32_t image, int32_t first, int32_t last, void *scratch, int32_t set,
                         double *slopes);

// Where a map was upsampled (see Part), the gradient of the one before from that of the one after, `in`: rows
// first .. last - 1 of an image of `out`, of so many channels, `height` and `width`, which are half of those of `in`.
void geseg_halve_float(const Map *in, const Map *out, int32_t image, int32_t channels, int32_t height, int32_t width,
                       int32_t first, int32_t last, int32_t set);
void geseg_halve_double(const Map *in, const Map *out, int32_t image, int32_t channels, int32_t height, int32_t width,
                        int32_t first, int32_t last, int32_t set);

// Does one of these with channels first .. last - 1 of an image; z is made of `in` by the factors, if there are any, or is `in`:
// 0  the mean and the squared distances to it, summed, of `in`  (sums: both)
// 1  out = z
// 2  of the slopes that the ReLU lets through, and of their products with in - middle, the sums
//                                                               (factors: scale, shift, middle; sums: both)
// 3  out = the largest of 2x2 of z
// 4  back = the slope where z is the first of the largest, else 0
void geseg_between_float(const Between *of, int32_t what, int32_t image, int32_t first, int32_t last, int32_t set);
void geseg_between_double(const Between *of, int32_t what, int32_t image, int32_t first, int32_t last, int32_t set);
#endif
