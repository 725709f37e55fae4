/* Products of rows that hold many zeros, for the training of the report's net: only what a row's marks name counts.

What is left out would have added zeros, so no sum changes. Sums have a fixed order, which does not hang on the width of
the processor's registers; where it has no fused multiply-add the last digits differ.
*/

#include "beat_training.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_512 __builtin_cpu_supports("avx512f")
#define HAS_256 (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))

#define LANES 16
#define SIZED(name) name##_512
#define TARGET __attribute__((target("avx512f,bmi")))
#include "beat_products.h"

#define LANES 8
#define SIZED(name) name##_256
#define TARGET __attribute__((target("avx2,fma,bmi")))
#include "beat_products.h"
#endif

#define LANES 4
#define SIZED(name) name##_128
#define TARGET
#include "beat_products.h"

#ifdef HAS_512
#define FOR_WIDTH(name, ...) (HAS_512 ? name##_512 : HAS_256 ? name##_256 : name##_128)(__VA_ARGS__)
#else
#define FOR_WIDTH(name, ...) name##_128(__VA_ARGS__)
#endif

void convolve_rows(const row *x, const uint32_t *marks, int length, const kernel weights, row *y, row_lists *lists)
{
    FOR_WIDTH(convolve, x, marks, length, weights, y, lists);
}

void correlate_rows(const row *g, const row *x, row_lists *lists, kernel gradient)
{
    FOR_WIDTH(correlate, g, x, lists, gradient);
}
