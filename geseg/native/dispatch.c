// Chooses, while the program runs, what was compiled for its processor.
#include "kernel.h"

#define DECLARE(suffix)                        \
    int64_t scratch_##suffix(const Layer *);   \
    void rows_##suffix(const Layer *, int32_t, int32_t, int32_t, void *);
DECLARE(float_portable)
DECLARE(double_portable)
#ifdef __x86_64__
DECLARE(float_avx2)
DECLARE(double_avx2)
DECLARE(float_avx512)
DECLARE(double_avx512)
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
#define CHOOSE(type)                                                                                \
    if (set == 3) rows_##type##_avx512(layer, image, first, last, scratch);                                \
    else if (set == 2) rows_##type##_avx2(layer, image, first, last, scratch);                             \
    else rows_##type##_portable(layer, image, first, last, scratch);
#else
#define CHOOSE(type)                                         \
    (void)set;                                               \
    rows_##type##_portable(layer, image, first, last, scratch);
#endif

void geseg_rows_float(const Layer *layer, int32_t image, int32_t first, int32_t last, void *scratch, int32_t set) {
    CHOOSE(float)
}

void geseg_rows_double(const Layer *layer, int32_t image, int32_t first, int32_t last, void *scratch, int32_t set) {
    CHOOSE(double)
}
