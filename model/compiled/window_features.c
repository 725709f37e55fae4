/* The features of the waveform classifier: `model/waveform/window_features.py` says what they are.

LANES windows go through every step side by side, so each value is a vector with one number of each of them, and the
features of a window do not depend on the others. Sums and transforms have another order than NumPy's: the last digits
of a feature differ.
*/

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "processors.h"

#define LANES 8
#define WINDOW 500
#define HALF (WINDOW / 2)
#define BINS (WINDOW / 2 + 1)
#define TAPERED (HALF / 2 + 1)
#define SEGMENTS 10
#define SEGMENT (WINDOW / SEGMENTS)
#define STEP 5
#define STEPS (WINDOW / STEP)
#define BURSTS (STEPS - 2)
#define MOST_PASSES 4
#define MOST_RADIX 5

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4 * LANES)));
typedef int32_t flags __attribute__((vector_size(4 * LANES), aligned(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))

/* A discrete Fourier transform of n values: cos(2 pi k / n) and sin(2 pi k / n) for k < n, and the radix of each pass. */
typedef struct {
    const float *cosine, *sine;
    int32_t n, passes, radix[MOST_PASSES];
} transform;

/* What `CompiledFeatures` fills in. */
typedef struct {
    transform whole, half, burst; /* of WINDOW, HALF and some more than BURSTS values */
    const float *ramp, *gain, *overlap, *burst_gain;
    const int32_t *bins, *lags, *burst_lags;                /* edges, each one more than there are parts */
    const int32_t *voltage_places, *slope_places, *burst_places;
    int32_t bands, lag_parts, low_parts, burst_parts, voltages, slopes, burst_quantiles;
    int32_t edge, low_place, high_place, burst_top, sharp, first_lag, last_lag, features;
    float lowest_mv, highest_mv, faint_mv, tiny, near_best, least_repetition;
} settings;

/* The numbers of a batch on their way. */
typedef struct {
    lanes line[WINDOW], y[WINDOW], ordered[WINDOW], slope[WINDOW], re[WINDOW], im[WINDOW], work[2 * WINDOW];
    lanes energy[STEPS], power[TAPERED];
    lanes above, below, inside, height, scale, period;
} batch;

INLINE lanes all(float value) { return value - (lanes){0}; }
INLINE lanes choose(flags which, lanes one, lanes other)
{
    return (lanes)(((flags)one & which) | ((flags)other & ~which));
}
INLINE lanes lower(lanes one, lanes other)
{
    for (int lane = 0; lane < LANES; lane++) /* one instruction, as compilers see */
        one[lane] = one[lane] < other[lane] ? one[lane] : other[lane];
    return one;
}
INLINE lanes higher(lanes one, lanes other)
{
    for (int lane = 0; lane < LANES; lane++)
        one[lane] = one[lane] > other[lane] ? one[lane] : other[lane];
    return one;
}
INLINE lanes size_of(lanes x) { return (lanes)((flags)x & 0x7fffffff); }
INLINE lanes ones(flags which) { return choose(which, all(1), all(0)); }

#define EACH(of, x)                                                                                                    \
    ({                                                                                                                 \
        lanes _made = (x);                                                                                             \
        for (int _lane = 0; _lane < LANES; _lane++)                                                                    \
            _made[_lane] = of(_made[_lane]);                                                                           \
        _made;                                                                                                         \
    })

/* Combine `radix` transforms of `done` values each to one of radix * done, for all places of the rest. */
INLINE void pass(const transform *of, const lanes *re, const lanes *im, lanes *to_re, lanes *to_im, int done,
                 const int radix)
{
    const int n = of->n, rest = n / (done * radix), turn = n / radix;
    float inner_re[MOST_RADIX * MOST_RADIX], inner_im[MOST_RADIX * MOST_RADIX];
    for (int p = 0; p < radix; p++)
        for (int q = 0; q < radix; q++) {
            inner_re[p * radix + q] = of->cosine[p * q % radix * turn];
            inner_im[p * radix + q] = -of->sine[p * q % radix * turn];
        }
    for (int k = 0; k < done; k++)
        for (int s = 0; s < rest; s++) {
            lanes a[MOST_RADIX], b[MOST_RADIX];
            for (int q = 0; q < radix; q++) {
                const int at = (s + q * rest) * done + k, angle = q * k * rest;
                const float c = of->cosine[angle], d = -of->sine[angle];
                a[q] = re[at] * c - im[at] * d;
                b[q] = re[at] * d + im[at] * c;
            }
            for (int p = 0; p < radix; p++) {
                lanes sum_re = a[0], sum_im = b[0];
                for (int q = 1; q < radix; q++) {
                    const float c = inner_re[p * radix + q], d = inner_im[p * radix + q];
                    sum_re += a[q] * c - b[q] * d;
                    sum_im += a[q] * d + b[q] * c;
                }
                to_re[(s * radix + p) * done + k] = sum_re;
                to_im[(s * radix + p) * done + k] = sum_im;
            }
        }
}

/* Transform n complex values in place, passing by `work` (2 n). */
INLINE void fourier(const transform *of, lanes *re, lanes *im, lanes *work)
{
    lanes *from_re = re, *from_im = im, *to_re = work, *to_im = work + of->n;
    int done = 1;
    for (int number = 0; number < of->passes; number++) {
        const int radix = of->radix[number];
        if (radix == 5)
            pass(of, from_re, from_im, to_re, to_im, done, 5);
        else if (radix == 4)
            pass(of, from_re, from_im, to_re, to_im, done, 4);
        else
            pass(of, from_re, from_im, to_re, to_im, done, 2);
        done *= radix;
        lanes *swap = from_re;
        from_re = to_re, to_re = swap;
        swap = from_im;
        from_im = to_im, to_im = swap;
    }
    if (from_re != re) {
        memcpy(re, from_re, sizeof(lanes) * of->n);
        memcpy(im, from_im, sizeof(lanes) * of->n);
    }
}

/* Sort n values of each lane: the comparisons of Batcher's merge exchange hang on n alone. */
INLINE void sort(lanes *x, int n)
{
    for (int p = 1; p < n; p *= 2)
        for (int k = p; k >= 1; k /= 2)
            for (int j = k % p; j + k < n; j += 2 * k) {
                if (!((j + k) & (2 * p - 1)))
                    continue; /* they are of two parts of 2 p */
                const int stop = j + k < n - k ? j + k : n - k;
                for (int i = j; i < stop; i++) {
                    const lanes one = x[i], other = x[i + k];
                    x[i] = lower(one, other);
                    x[i + k] = higher(one, other);
                }
            }
}

INLINE lanes sum(const lanes *x, int n)
{
    lanes sums[4] = {{0}, {0}, {0}, {0}};
    for (int i = 0; i < n; i++)
        sums[i % 4] += x[i];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

INLINE lanes largest(const lanes *x, int n)
{
    lanes most = x[0];
    for (int i = 1; i < n; i++)
        most = higher(most, x[i]);
    return most;
}

INLINE lanes smallest(const lanes *x, int n)
{
    lanes least = x[0];
    for (int i = 1; i < n; i++)
        least = lower(least, x[i]);
    return least;
}

INLINE lanes clip(lanes x, float low, float high) { return lower(higher(x, all(low)), all(high)); }

/* Keep a feature of all lanes. */
INLINE lanes *keep(lanes *found, lanes value)
{
    *found = value;
    return found + 1;
}

/* Subtract the line between both ends, keep 0.4 to 35 Hz, and find heights, slopes and bursts. */
INLINE void prepare(const settings *of, batch *at)
{
    const lanes first = sum(at->line, of->edge) / (float)of->edge;
    const lanes last = sum(at->line + WINDOW - of->edge, of->edge) / (float)of->edge;
    for (int i = 0; i < WINDOW; i++)
        at->line[i] -= first + (last - first) * of->ramp[i];
    memcpy(at->re, at->line, sizeof at->line);
    memset(at->im, 0, sizeof at->im);
    fourier(&of->whole, at->re, at->im, at->work);
    const int stop = of->bins[of->bands];
    lanes *power = at->work;
    for (int k = 0; k < BINS; k++)
        power[k] = at->re[k] * at->re[k] + at->im[k] * at->im[k];
    at->below = sum(power, of->bins[0]);
    at->inside = sum(power + of->bins[0], stop - of->bins[0]) + of->tiny;
    at->above = sum(power + stop, BINS - stop);
    for (int k = 0; k < BINS; k++)
        at->re[k] *= of->gain[k], at->im[k] *= of->gain[k];
    /* A Hann taper is a sum of neighbours in the spectrum. */
    for (int k = 0; k < TAPERED; k++) {
        lanes re = 2 * at->re[k] - at->re[k + 1], im = 2 * at->im[k] - at->im[k + 1];
        if (k)
            re -= at->re[k - 1], im -= at->im[k - 1];
        at->power[k] = re * re + im * im;
    }
    /* Back: the real part of the transform of the conjugate. */
    at->im[0] = at->im[WINDOW / 2] = all(0);
    for (int k = 1; k < WINDOW / 2; k++) {
        at->re[WINDOW - k] = at->re[k];
        at->im[WINDOW - k] = at->im[k];
        at->im[k] = -at->im[k];
    }
    fourier(&of->whole, at->re, at->im, at->work);
    for (int i = 0; i < WINDOW; i++)
        at->y[i] = at->re[i] / (float)WINDOW;
    memcpy(at->ordered, at->y, sizeof at->y);
    sort(at->ordered, WINDOW);
    at->height = at->ordered[of->high_place] - at->ordered[of->low_place];
    at->scale = higher(at->height, all(1e-3f));
    for (int i = 0; i < WINDOW; i++)
        at->y[i] /= at->scale;
    at->slope[0] = all(0);
    for (int i = 1; i < WINDOW; i++)
        at->slope[i] = size_of(at->y[i] - at->y[i - 1]);
    for (int i = 0; i < STEPS; i++) {
        at->energy[i] = all(0);
        for (int step = 0; step < STEP; step++)
            at->energy[i] += at->slope[STEP * i + step] * at->slope[STEP * i + step];
    }
}

INLINE lanes *height_features(const settings *of, const batch *at, lanes *found)
{
    lanes step = all(0);
    for (int i = 1; i < WINDOW; i++)
        step = higher(step, size_of(at->line[i] - at->line[i - 1]));
    const lanes reach = higher(at->ordered[WINDOW - 1], -at->ordered[0]) / at->scale + of->tiny;
    const flags faint = at->height < of->faint_mv;
    found = keep(found, EACH(log2f, clip(at->height, of->lowest_mv, of->highest_mv)));
    found = keep(found, lower(EACH(log10f, at->below / at->inside + 1e-3f), all(4)));
    found = keep(found, lower(EACH(log10f, at->above / at->inside + 1e-5f), all(4)));
    found = keep(found, lower(step / at->scale, all(3)));
    found = keep(found, EACH(log2f, reach));
    for (int side = 0; side < 2; side++) {
        const lanes size = EACH(sqrtf, 2 * (side ? at->below : at->above)) / (float)WINDOW;
        found = keep(found, EACH(log2f, clip(choose(faint, size, all(0)), of->lowest_mv, of->highest_mv)));
    }
    return found;
}

INLINE lanes *spectral_features(const settings *of, batch *at, lanes *found)
{
    const int stop = of->bins[of->bands], low = of->bins[0];
    lanes *share = at->work, *cumulated = at->work + WINDOW;
    const lanes total = sum(at->power, stop) + of->tiny;
    lanes mean = all(0), square = all(0), uneven = all(0), best = all(-1);
    flags peak = {0};
    cumulated[0] = all(0);
    for (int k = 0; k < stop; k++) {
        share[k] = at->power[k] / total;
        cumulated[k + 1] = cumulated[k] + share[k];
        mean += share[k] * (0.25f * k);
        square += share[k] * (0.25f * k) * (0.25f * k);
        uneven += share[k] * share[k];
    }
    for (int band = 0; band < of->bands; band++)
        found = keep(found, EACH(log10f, sum(share + of->bins[band], of->bins[band + 1] - of->bins[band]) + 1e-4f));
    for (int k = low; k < 40; k++) { /* 1 to 10 Hz */
        const lanes three = cumulated[k + 3] - cumulated[k];
        const flags more = three > best;
        best = choose(more, three, best);
        peak = (peak & ~more) | (((flags){0} + (k + 1)) & more);
    }
    lanes dominant;
    for (int lane = 0; lane < LANES; lane++)
        dominant[lane] = peak[lane] / 4.0f;
    found = keep(found, dominant);
    found = keep(found, EACH(log2f, dominant));
    for (int harmonic = 0; harmonic < 4; harmonic++) {
        lanes inside;
        for (int lane = 0; lane < LANES; lane++) {
            const int centre = harmonic < 3 ? (harmonic + 1) * peak[lane] : peak[lane] / 2, half = harmonic < 3 ? 2 : 1;
            const int from = centre - half < stop ? centre - half : stop;
            const int to = centre + half + 1 < stop ? centre + half + 1 : stop;
            inside[lane] = cumulated[to][lane] - cumulated[from][lane];
        }
        found = keep(found, inside);
    }
    found = keep(found, mean);
    found = keep(found, EACH(sqrtf, higher(square - mean * mean, all(0))));
    found = keep(found, mean / dominant);
    return keep(found, EACH(log2f, uneven + of->tiny));
}

/* The number of times that flags change from one value to the next, by 8. */
#define CHANGES(count, flag)                                                                                           \
    ({                                                                                                                 \
        lanes _changes = all(0);                                                                                       \
        flags _before = {0};                                                                                           \
        for (int i = 0; i < (count); i++) {                                                                            \
            const flags _now = (flag);                                                                                 \
            if (i)                                                                                                     \
                _changes += ones(_now ^ _before);                                                                      \
            _before = _now;                                                                                            \
        }                                                                                                              \
        _changes / 8;                                                                                                  \
    })

INLINE lanes *voltage_features(const settings *of, batch *at, lanes *found)
{
    lanes *centred = at->work, second[4] = {{0}, {0}, {0}, {0}}, third = all(0), fourth = all(0);
    const lanes mean = sum(at->y, WINDOW) / (float)WINDOW;
    for (int i = 0; i < WINDOW; i++) {
        const lanes x = centred[i] = at->y[i] - mean;
        second[i % 4] += x * x;
        third += x * x * x;
        fourth += x * x * (x * x);
    }
    const lanes variance = ((second[0] + second[1]) + (second[2] + second[3])) / (float)WINDOW + 1e-6f;
    const lanes skew = third / (float)WINDOW / (variance * EACH(sqrtf, variance));
    const lanes kurtosis = fourth / (float)WINDOW / (variance * variance);
    const flags up = skew >= 0;
    const lanes middle = at->ordered[WINDOW / 2] / at->scale;
    for (int i = 0; i < of->voltages; i++) {
        const lanes as_is = at->ordered[of->voltage_places[i]] / at->scale - middle;
        const lanes turned = middle - at->ordered[of->voltage_places[of->voltages - 1 - i]] / at->scale;
        found = keep(found, choose(up, as_is, turned));
    }
    for (int i = 0; i < WINDOW; i++)
        centred[i] = choose(up, centred[i], -centred[i]);
    found = keep(found, lower(size_of(skew), all(4)));
    found = keep(found, EACH(log2f, kurtosis + 0.5f));
    found = keep(found, CHANGES(WINDOW, centred[i] > -0.25f));
    found = keep(found, CHANGES(WINDOW, centred[i] > 0));
    return keep(found, CHANGES(WINDOW, centred[i] > 0.25f));
}

INLINE lanes *slope_features(const settings *of, batch *at, lanes *found)
{
    lanes *steep = at->re, *edges = at->im;
    const int sharp = of->sharp, count = WINDOW - 2 * sharp;
    memcpy(steep, at->slope, sizeof at->slope);
    sort(steep, WINDOW);
    for (int i = 0; i < count; i++)
        edges[i] = size_of(at->y[i + sharp] - (at->y[i] + at->y[i + 2 * sharp]) * 0.5f);
    sort(edges, count);
    const lanes most = steep[of->high_place] + of->tiny, edge = edges[count - 6] + of->tiny;
    const lanes turns = CHANGES(WINDOW - 1, at->y[i + 1] > at->y[i]);
    for (int i = 0; i < of->slopes; i++)
        found = keep(found, steep[of->slope_places[i]] / most);
    for (int i = 0; i < of->slopes; i++)
        found = keep(found, edges[of->slope_places[i]] / edge);
    found = keep(found, EACH(log2f, most));
    found = keep(found, EACH(log2f, edge));
    return keep(found, EACH(log2f, turns + 1));
}

INLINE lanes *segment_features(const settings *of, batch *at, lanes *found)
{
    lanes heights[SEGMENTS], steepest[SEGMENTS], sums[2][2] = {{{0}, {0}}, {{0}, {0}}};
    for (int part = 0; part < SEGMENTS; part++) {
        const lanes *y = at->y + part * SEGMENT;
        heights[part] = largest(y, SEGMENT) - smallest(y, SEGMENT);
        steepest[part] = largest(at->slope + part * SEGMENT, SEGMENT);
        lanes power = all(0);
        for (int i = 0; i < SEGMENT; i++)
            power += y[i] * y[i];
        const int later = part >= SEGMENTS / 2;
        sums[0][later] += power / (float)SEGMENT;
        sums[1][later] += sum(at->energy + part * SEGMENT / STEP, SEGMENT / STEP) / (float)SEGMENT;
    }
    const lanes steep = largest(steepest, SEGMENTS) + of->tiny;
    const lanes last = (largest(heights + SEGMENTS - 3, 3) + 1e-4f) / (largest(heights, SEGMENTS) + 1e-4f);
    for (int part = 0; part < SEGMENTS; part++)
        steepest[part] /= steep;
    sort(heights, SEGMENTS);
    sort(steepest, SEGMENTS);
    for (int part = 0; part < SEGMENTS; part++)
        found = keep(found, heights[part]);
    for (int part = 0; part < SEGMENTS; part++)
        found = keep(found, steepest[part]);
    for (int of_what = 0; of_what < 2; of_what++)
        found = keep(found, clip(EACH(log2f, (sums[of_what][1] + 1e-4f) / (sums[of_what][0] + 1e-4f)), -6, 6));
    return keep(found, clip(EACH(log2f, last), -6, 6));
}

INLINE lanes *burst_features(const settings *of, batch *at, lanes *found)
{
    lanes bursts[BURSTS], ordered[BURSTS];
    const int n = of->burst.n;
    for (int i = 0; i < BURSTS; i++)
        bursts[i] = EACH(sqrtf, at->energy[i] + at->energy[i + 1] + at->energy[i + 2]);
    memcpy(ordered, bursts, sizeof bursts);
    sort(ordered, BURSTS);
    const lanes top = ordered[of->burst_top] + of->tiny;
    for (int i = 0; i < BURSTS; i++)
        bursts[i] /= top;
    const lanes count = CHANGES(BURSTS, bursts[i] > 0.5f), mean = sum(bursts, BURSTS) / (float)BURSTS;
    for (int i = 0; i < n; i++) {
        at->re[i] = i < BURSTS ? bursts[i] - mean : all(0);
        at->im[i] = all(0);
    }
    fourier(&of->burst, at->re, at->im, at->work);
    for (int k = 0; k < n; k++) {
        at->re[k] = at->re[k] * at->re[k] + at->im[k] * at->im[k];
        at->im[k] = all(0);
    }
    fourier(&of->burst, at->re, at->im, at->work);
    for (int i = 0; i < of->burst_quantiles; i++)
        found = keep(found, ordered[of->burst_places[i]] / top);
    lanes most = all(-1e30f);
    const lanes whole = at->re[0] / (float)n + of->tiny;
    for (int part = 0; part < of->burst_parts; part++) {
        lanes best = all(-1e30f);
        for (int lag = of->burst_lags[part]; lag < of->burst_lags[part + 1]; lag++)
            best = higher(best, at->re[lag] / (float)n / whole * of->burst_gain[lag]);
        most = higher(most, best);
        found = keep(found, best);
    }
    found = keep(found, count);
    return keep(found, most);
}

INLINE lanes *repetition_features(const settings *of, batch *at, lanes *found)
{
    const int last = of->lags[of->lag_parts] + 2, inner = of->last_lag - of->first_lag + 1;
    lanes *alike = at->work + WINDOW, *values = at->work;
    for (int k = 0; k < HALF; k++) {
        at->re[k] = at->power[k <= HALF / 2 ? k : HALF - k];
        at->im[k] = all(0);
    }
    fourier(&of->half, at->re, at->im, at->work);
    const lanes whole = at->re[0] / (float)HALF + of->tiny;
    for (int lag = 0; lag < last; lag++)
        alike[lag] = at->re[lag] / (float)HALF / (whole * of->overlap[lag]);
    for (int part = 0; part < of->lag_parts; part++)
        found = keep(found, largest(alike + of->lags[part], of->lags[part + 1] - of->lags[part]));
    for (int part = 0; part < of->low_parts; part++)
        found = keep(found, smallest(alike + of->lags[part], of->lags[part + 1] - of->lags[part]));
    lanes best = all(-1);
    for (int i = 0; i < inner; i++) {
        const lanes *lag = alike + of->first_lag + i;
        values[i] = choose((lag[0] >= lag[-1]) & (lag[0] > lag[1]), lag[0], all(-1));
        best = higher(best, values[i]);
    }
    lanes period;
    for (int lane = 0; lane < LANES; lane++) {
        int first = 0;
        while (values[first][lane] < of->near_best * best[lane])
            first++;
        const lanes *at_lag = alike + of->first_lag + first;
        const float before = at_lag[-1][lane], after = at_lag[1][lane], curve = before - 2 * at_lag[0][lane] + after;
        const float move = (before - after) / (2 * (curve < -of->tiny ? curve : -of->tiny));
        period[lane] = of->first_lag + first + (move < -0.5f ? -0.5f : move > 0.5f ? 0.5f : move);
    }
    period = choose(best > 0, period, all(of->last_lag));
    lanes valley = all(1), crossing = all(0);
    flags crossed = {0};
    for (int lag = 0; lag < last; lag++) {
        valley = choose(period > (float)lag, lower(valley, alike[lag]), valley);
        const flags here = (alike[lag] < 0) & ~crossed;
        crossing = choose(here, all(lag), crossing);
        crossed |= here;
    }
    at->period = choose(best >= of->least_repetition, 2 * period, all(0));
    found = keep(found, best);
    found = keep(found, EACH(log2f, period));
    found = keep(found, valley);
    found = keep(found, best - valley);
    return keep(found, EACH(log2f, crossing + 1));
}

/* Bytes of memory that `measure_windows` works in, and alignment of it. */
int64_t features_work_size(void) { return sizeof(batch) + 256 * sizeof(lanes); }

/* Measure windows (n, WINDOW) to numbers (n, features), height (n) and period (n); `work` is aligned to 64 bytes.
Return the features of a window, -1 if `of` expects others. */
FOR_EACH_PROCESSOR
int64_t measure_windows(const settings *of, const float *windows, int64_t n, void *work, float *numbers, float *height,
                        float *period)
{
    batch *at = work;
    lanes *features = (lanes *)(at + 1);
    for (int64_t first = 0; first < n; first += LANES) {
        const int count = n - first < LANES ? (int)(n - first) : LANES;
        for (int lane = 0; lane < LANES; lane++) {
            const float *window = windows + (first + (lane < count ? lane : count - 1)) * WINDOW;
            for (int i = 0; i < WINDOW; i++)
                at->line[i][lane] = window[i];
        }
        prepare(of, at);
        lanes *found = height_features(of, at, features);
        found = spectral_features(of, at, found);
        found = voltage_features(of, at, found);
        found = slope_features(of, at, found);
        found = segment_features(of, at, found);
        found = burst_features(of, at, found);
        found = repetition_features(of, at, found);
        if (found - features != of->features)
            return -1;
        for (int lane = 0; lane < count; lane++) {
            for (int i = 0; i < of->features; i++)
                numbers[(first + lane) * of->features + i] = features[i][lane];
            height[first + lane] = at->height[lane];
            period[first + lane] = at->period[lane];
        }
    }
    return of->features;
}
