// The Fourier transform of a group: from the channels of a regular field to irreps and back, in registers.
//
// With n rotations it is the real one of n points, n = 1, 2, 4 or 8, from x[k] to the sums of x[k] cos(2 pi f k / n) and
// x[k] sin(2 pi f k / n) for f = 0, 1, .., n / 2; with reflections, that of the sum and of the difference of what belongs
// to rotations and to their reflections. Both directions are orthogonal: irreps.py has the matrix, in the same order.
#ifndef GESEG_FOURIER_H
#define GESEG_FOURIER_H
#include "work.h"

#define HALF_ROOT ((REAL)0.70710678118654752440)  // cos(pi / 4)

// n points become cos 0, cos 1, sin 1, .., cos n / 2: even frequencies are those of x[k] + x[k + n / 2].
INLINE void analyse(int n, vec *x) {
    for (int k = 0; k < n / 2; k++) butterfly(&x[k], &x[k + n / 2]);
    if (n == 4) {
        const vec cos1 = x[2], sin1 = x[3];
        butterfly(&x[0], &x[1]);
        x[3] = x[1], x[1] = cos1, x[2] = sin1;
    } else if (n == 8) {
        vec even[4] = {x[0], x[1], x[2], x[3]};
        const vec across = HALF_ROOT * (x[5] - x[7]), along = HALF_ROOT * (x[5] + x[7]);
        const vec cos0 = x[4], sin2 = x[6];
        butterfly(&even[0], &even[2]), butterfly(&even[1], &even[3]), butterfly(&even[0], &even[1]);
        x[0] = even[0], x[3] = even[2], x[4] = even[3], x[7] = even[1];
        x[1] = cos0 + across, x[2] = along + sin2, x[5] = cos0 - across, x[6] = along - sin2;
    }
}

// The transpose of that.
INLINE void synthesise(int n, vec *x) {
    if (n == 4) {
        const vec cos1 = x[1], sin1 = x[2];
        x[1] = x[3], x[2] = cos1, x[3] = sin1;
        butterfly(&x[0], &x[1]);
    } else if (n == 8) {
        vec even[4] = {x[0], x[7], x[3], x[4]};
        const vec across = HALF_ROOT * (x[1] - x[5]), along = HALF_ROOT * (x[2] + x[6]);
        const vec cos0 = x[1] + x[5], sin2 = x[2] - x[6];
        butterfly(&even[0], &even[1]), butterfly(&even[0], &even[2]), butterfly(&even[1], &even[3]);
        x[0] = even[0], x[1] = even[1], x[2] = even[2], x[3] = even[3];
        x[4] = cos0, x[5] = along + across, x[6] = sin2, x[7] = along - across;
    }
    for (int k = 0; k < n / 2; k++) butterfly(&x[k], &x[k + n / 2]);
}

// Frequencies 0 and n / 2 have a cosine alone.
INLINE int alone(int n, int i) { return i == 0 || i == n - 1; }

// Where the i-th of n numbers of frequencies is among the irreps: of the sums, where there are reflections, or of the
// differences, whose sine comes before the cosine, and is negative.
INLINE int index_of(int n, int mirrored, int difference, int i) {
    if (!mirrored) return i;
    const int sine = i % 2 == 0, first = 4 * ((i + 1) / 2) - 2;
    return alone(n, i) ? 2 * i + difference : first + (difference ? 3 - sine : sine);
}

// What the i-th number is multiplied by: it makes the transform orthogonal, and the sine of differences negative.
INLINE REAL scale(int n, int mirrored, int difference, int i) {
    const REAL roots[] = {1, HALF_ROOT, (REAL)0.5, HALF_ROOT / 2, (REAL)0.25};  // of 1 / order
    const int order = (n == 8 ? 3 : n / 2) + mirrored;
    if (alone(n, i)) return roots[order];
    return difference && i % 2 == 0 ? -roots[order - 1] : roots[order - 1];
}

// A vector of each channel of a field; its channels, and those of the irreps, are so many numbers apart.
INLINE void to_irreps_at(int n, int mirrored, const REAL *in, ptrdiff_t pitch, REAL *out, ptrdiff_t apart) {
    vec x[MOST_SIZE];
    for (int c = 0; c < n << mirrored; c++) x[c] = load(in + c * pitch);
    for (int k = 0; k < n && mirrored; k++) butterfly(&x[k], &x[n + k]);
    for (int d = 0; d <= mirrored; d++) {
        analyse(n, x + d * n);
        for (int i = 0; i < n; i++)
            store(out + index_of(n, mirrored, d, i) * apart, scale(n, mirrored, d, i) * x[d * n + i]);
    }
}

// Back, with a bias and perhaps ReLU; only so many numbers are written.
INLINE void to_field_at(int n, int mirrored, const REAL *in, ptrdiff_t pitch, REAL *out, ptrdiff_t apart, int numbers,
                        REAL bias, int relu) {
    vec x[MOST_SIZE];
    for (int d = 0; d <= mirrored; d++) {
        for (int i = 0; i < n; i++)
            x[d * n + i] = scale(n, mirrored, d, i) * load(in + index_of(n, mirrored, d, i) * pitch);
        if (!d) x[0] += bias;  // which all channels of a field share
        synthesise(n, x + d * n);
    }
    for (int k = 0; k < n && mirrored; k++) butterfly(&x[k], &x[n + k]);
    for (int c = 0; c < n << mirrored; c++) {
        const vec one = relu ? positive(x[c]) : x[c];
        if (numbers < LANES) memcpy(out + c * apart, &one, numbers * sizeof(REAL));
        else store(out + c * apart, one);
    }
}

// Does `call(n, mirrored)` with constants, for a field of so many channels; a single one is that of the trivial group.
#define WITH_GROUP(size, mirrored, call)                \
    switch ((size) == 1 ? 0 : 2 * (size) + (mirrored)) { \
    case 4: call(2, 0); break;                          \
    case 5: call(1, 1); break;                          \
    case 8: call(4, 0); break;                          \
    case 9: call(2, 1); break;                          \
    case 16: call(8, 0); break;                         \
    case 17: call(4, 1); break;                         \
    case 33: call(8, 1); break;                         \
    default: call(1, 0);                                \
    }

// `width` numbers, a multiple of LANES, of each channel of a field into irreps.
static void to_irreps(int size, int mirrored, const REAL *in, ptrdiff_t pitch, REAL *out, ptrdiff_t apart, int width) {
#define CALL(n, m) \
    for (int x = 0; x < width; x += LANES) to_irreps_at(n, m, in + x, pitch, out + x, apart)
    WITH_GROUP(size, mirrored, CALL)
#undef CALL
}

// `width` numbers of each channel back; of the irreps whole vectors are read.
static void to_field(int size, int mirrored, const REAL *in, ptrdiff_t pitch, REAL *out, ptrdiff_t apart, int width,
                     REAL bias, int relu) {
    const int whole = width / LANES * LANES, rest = width - whole;
#define CALL(n, m)                                                                                       \
    do {                                                                                                 \
        for (int x = 0; x < whole; x += LANES)                                                           \
            to_field_at(n, m, in + x, pitch, out + x, apart, LANES, bias, relu);                         \
        if (rest) to_field_at(n, m, in + whole, pitch, out + whole, apart, rest, bias, relu);            \
    } while (0)
    WITH_GROUP(size, mirrored, CALL)
#undef CALL
}
#endif
