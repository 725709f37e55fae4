/* Rings of samples, (rows, samples): what `SampleRing` in `agent/analysis/sample_ring.py` copies in and out of them.

`samples` is a power of two; sample i stands at place i % samples of its row. */

#include <stdint.h>
#include <string.h>

/* Copy `count` samples, at most `samples`, from index `firsts` (n,) on of `rows` (n,) to `to` (n, count). */
void copy_windows(const float *rings, int64_t samples, int64_t n, const int64_t *rows, const int64_t *firsts,
                  int64_t count, float *to)
{
    for (int64_t i = 0; i < n; i++, to += count) {
        const float *ring = rings + rows[i] * samples;
        const int64_t place = firsts[i] & (samples - 1), left = samples - place < count ? samples - place : count;
        memcpy(to, ring + place, sizeof(float) * (size_t)left);
        memcpy(to + left, ring, sizeof(float) * (size_t)(count - left));
    }
}

/* Put `x` (n, count) behind the `heads` (all rows) of `rows` (n,), which go on. */
void append_samples(float *rings, int64_t samples, int64_t *heads, int64_t n, const int64_t *rows, int64_t count,
                    const float *x)
{
    for (int64_t i = 0; i < n; i++, x += count) {
        float *ring = rings + rows[i] * samples;
        const int64_t place = heads[rows[i]] & (samples - 1), left = samples - place < count ? samples - place : count;
        memcpy(ring + place, x, sizeof(float) * (size_t)left);
        memcpy(ring, x + left, sizeof(float) * (size_t)(count - left));
        heads[rows[i]] += count;
    }
}
