/* NumPy's sum of up to 128 values: eight running sums, then what is left over. DEFINE_SUM makes `sum_of` for a type. */

#include <string.h>

#define DEFINE_SUM(type)                                                                                               \
    static inline type sum_of(const type *x, int n)                                                                    \
    {                                                                                                                  \
        type sums[8], sum;                                                                                             \
        int i = 8;                                                                                                     \
        if (n < 8) {                                                                                                   \
            sum = 0;                                                                                                   \
            for (i = 0; i < n; i++)                                                                                    \
                sum += x[i];                                                                                           \
            return sum;                                                                                                \
        }                                                                                                              \
        memcpy(sums, x, sizeof sums);                                                                                  \
        for (; i < n - n % 8; i += 8)                                                                                  \
            for (int j = 0; j < 8; j++)                                                                                \
                sums[j] += x[i + j];                                                                                   \
        sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));               \
        for (; i < n; i++)                                                                                             \
            sum += x[i];                                                                                               \
        return sum;                                                                                                    \
    }
