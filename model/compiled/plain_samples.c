/* From counts to millivolts, and which beds have nothing in them to be mended: `convert_counts` in
`agent/analysis/count_conversion.py`, whose numbers these are to the last bit. */

#include <math.h>
#include <stdint.h>

#include "processors.h"

/* Whether samples (n) have no step that may be a pulse, as `plain_rows` says; `single`: a pulse has one sample. */
static inline __attribute__((always_inline)) int is_plain(const float *x, int64_t n, int single, float jump, float back)
{
    int may_be = 0;
    if (n == 1)
        return 1;
    if (!single || n == 2) {
        for (int64_t i = 1; i < n; i++)
            may_be |= fabsf(x[i] - x[i - 1]) >= jump;
        return !may_be;
    }
    for (int64_t i = 2; i < n; i++)
        may_be |= (x[i] - x[i - 1]) * (x[i - 1] - x[i - 2]) <= back;
    return !may_be && fabsf(x[n - 1] - x[n - 2]) < jump;
}

/* Convert counts (beds, n, all) of the `columns` (leads) to x (beds, leads, n), with offsets and scales (beds, leads). */
FOR_EACH_PROCESSOR void convert_counts(int64_t beds, int64_t n, int64_t all, int64_t leads, const int32_t *counts,
                                       const int64_t *columns, const double *offsets, const double *scales,
                                       int32_t missing, double most, int32_t single, float jump, float back, float *x,
                                       uint8_t *plain)
{
    for (int64_t bed = 0; bed < beds; bed++) {
        plain[bed] = 1;
        for (int64_t lead = 0; lead < leads; lead++) {
            const int32_t *from = counts + bed * n * all + columns[lead];
            const double offset = offsets[bed * leads + lead], scale = scales[bed * leads + lead];
            float *to = x + (bed * leads + lead) * n;
            int is_missing = 0;
            for (int64_t i = 0; i < n; i++) {
                const int32_t count = from[i * all];
                double value = (count - offset) * scale;
                value = value < most ? value : most;
                value = value > -most ? value : -most;
                to[i] = (float)value;
                is_missing |= count == missing;
            }
            plain[bed] &= !is_missing && is_plain(to, n, single, jump, back);
        }
    }
}
