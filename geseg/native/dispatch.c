// Chooses, while the program runs, what was compiled for its processor.
#include "kernel.h"

#define DECLARE(type, set)                                                                                \
    int64_t scratch_##type##_##set(const Layer *);                                                        \
    void rows_##type##_##set(const Layer *, int32_t, int32_t, int32_t, void *);                           \
    void slopes_##type##_##set(const Layer *, int32_t, int32_t, int32_t, void *, type *);                 \
    void between_##type##_##set(const Between *, int32_t, int32_t, int32_t, int32_t);                     \
    void halve_##type##_##set(const Map *, const Map *, int32_t, int32_t, int32_t, int32_t, int32_t, int32_t);
DECLARE(float, portable)
DECLARE(double, portable)
#ifdef __x86_64__
DECLARE(float, avx2)
DECLARE(double, avx2)
DECLARE(float, avx512)
DECLARE(double, avx512)
#endif

#ifndef SOURCES
#define SOURCES ""
#endif
const char *geseg_sources(void) { return SOURCES; }

int32_t geseg_best_set(void) {
#ifdef __x86_64__
    __builtin_cpu_init();
    const int fma = __builtin_cpu_supports("fma");
    if (fma && __builtin_cpu_supports("avx512f")) return 3;
    if (fma && __builtin_cpu_supports("avx2")) return 2;
#endif
    return 1;
}

int64_t geseg_scratch(const Layer *layer) { return scratch_float_portable(layer); }

#ifdef __x86_64__
#define CHOOSE(name, ...)                        \
    if (set == 3) name##_avx512(__VA_ARGS__);    \
    else if (set == 2) name##_avx2(__VA_ARGS__); \
    else name##_portable(__VA_ARGS__);
#else
#define CHOOSE(name, ...) \
    (void)set;            \
    name##_portable(__VA_ARGS__);
#endif

#define DEFINE(type)                                                                                                  \
    void geseg_rows_##type(const Layer *layer, int32_t image, int32_t first, int32_t last, void *scratch,             \
                           int32_t set) {                                                                              \
        CHOOSE(rows_##type, layer, image, first, last, scratch)                                                        \
    }                                                                                                                  \
    void geseg_slopes_##type(const Layer *layer, int32_t image, int32_t first, int32_t last, void *scratch,           \
                             int32_t set, type *slopes) {                                                              \
        CHOOSE(slopes_##type, layer, image, first, last, scratch, slopes)                                              \
    }                                                                                                                  \
    void geseg_halve_##type(const Map *in, const Map *out, int32_t image, int32_t channels, int32_t height,           \
                            int32_t width, int32_t first, int32_t last, int32_t set) {                                 \
        CHOOSE(halve_##type, in, out, image, channels, height, width, first, last)                                     \
    }                                                                                                                  \
    void geseg_between_##type(const Between *of, int32_t what, int32_t image, int32_t first, int32_t last,            \
                              int32_t set) {                                                                           \
        CHOOSE(between_##type, of, what, image, first, last)                                                           \
    }
DEFINE(float)
DEFINE(double)
