/* Beats described beside what is known of their patient: `BeatTemplates.describe` without its temporary arrays.

The same sums in the same order as NumPy's, so that the results are the same to the last bit: it must be compiled without
contraction to fused multiply-add. `model/beats/templates.py` and `model/beats/rhythm_history.py` say what is computed.
*/

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "numpy_sum.h"
#include "processors.h"

#define WAVE_BEFORE 48
#define WAVE 128
#define QRS_BEFORE 14
#define QRS_AFTER 18
#define QRS 32
#define SLACK 2
#define MOVES (2 * SLACK + 1)
#define CLUSTERS 8
#define P_WAVE_FIRST 8
#define P_WAVE 28
#define KEPT 128
#define LONG 64
#define RECENT 16
#define ONSET 9
#define SLOW 5 /* four quantiles and the steady interval */
#define OUTSIDE (WAVE - 2 - QRS)
#define RHYTHM_FEATURES 42
#define FEATURES 65

/* What `BeatTemplates` fills in: its constants, and a pointer to each array of its state, one row for each patient. */
typedef struct {
    float join_correlation, weight_fade, mean_beats, quality_beats, least_size, rhythm_limit, shape_limit;
    float near, similar, similar_next, sinus_rate, sinus_rise, sinus_fall, pause_rr_s, least_rr_s, first_log_rr;
    float slow_step[SLOW - 1];
    double slow_shares[SLOW - 1];
    float *shape, *wave, *size, *weight, *rr, *next, *beats_seen, *last_shape, *last_size, *last_like, *quality;
    float *intervals, *own_rr, *slow, *unsteady, *learnt;
} templates;

/* One beat; `BeatWindows` says what each field is. */
typedef struct {
    intptr_t row;
    const float *wave, *following, *rr;
    float next, score;
    int no_next;
} beat;

typedef struct {
    float shapes[MOVES][QRS], following[MOVES][QRS], sizes[MOVES];
    int move, best, dominant, joins;
    float like_best, like_dominant, scale;
} comparison;

DEFINE_SUM(float)

static inline float sum_of_products(const float *x, const float *y, int n)
{
    float products[WAVE];
    for (int i = 0; i < n; i++)
        products[i] = x[i] * y[i];
    return sum_of(products, n);
}

static inline float larger(float a, float b) { return a > b ? a : b; }
static inline float clip(float x, float limit) { return x < -limit ? -limit : x > limit ? limit : x; }
static inline float log_of(float x) { return (float)log((double)x); }
static inline float log_1p_of(float x) { return (float)log1p((double)x); }

/* Subtract the mean of x (n), then divide by the length; return the length. */
static inline float to_unit_vector(const float *x, int n, float *unit, int centred)
{
    const float mean = centred ? sum_of(x, n) / n : 0;
    for (int i = 0; i < n; i++)
        unit[i] = centred ? x[i] - mean : x[i];
    const float length = sqrtf(sum_of_products(unit, unit, n)), divisor = larger(length, 1e-6f);
    for (int i = 0; i < n; i++)
        unit[i] = unit[i] / divisor;
    return length;
}

/* Write x (n) in order. Each value's place is counted: no branches, and many comparisons at once. */
static inline void sort(const float *x, int n, float *ordered)
{
    for (int i = 0; i < n; i++) {
        const float value = x[i];
        int place = 0;
        for (int j = 0; j < i; j++)
            place += x[j] <= value;
        for (int j = i + 1; j < n; j++)
            place += x[j] < value;
        ordered[place] = value;
    }
}

static float median_of(const float *x)
{
    float ordered[WAVE];
    sort(x, WAVE, ordered);
    return (ordered[WAVE / 2 - 1] + ordered[WAVE / 2]) * 0.5f;
}

static int largest(const float *x, int n)
{
    int at = 0;
    for (int i = 1; i < n; i++)
        at = x[i] > x[at] ? i : at;
    return at;
}

static int smallest(const float *x, int n)
{
    int at = 0;
    for (int i = 1; i < n; i++)
        at = x[i] < x[at] ? i : at;
    return at;
}

static float best_correlation(float (*shapes)[QRS], const float *other)
{
    float best = sum_of_products(shapes[0], other, QRS);
    for (int move = 1; move < MOVES; move++)
        best = larger(best, sum_of_products(shapes[move], other, QRS));
    return best;
}

static void compare_shapes(const templates *of, const beat *one, comparison *found)
{
    const float *shape = of->shape + one->row * CLUSTERS * QRS, *weight = of->weight + one->row * CLUSTERS;
    float correlations[CLUSTERS][MOVES], like[CLUSTERS];
    for (int move = 0; move < MOVES; move++) {
        found->sizes[move] = to_unit_vector(one->wave + WAVE_BEFORE - QRS_BEFORE + move, QRS, found->shapes[move], 1);
        to_unit_vector(one->following + move, QRS, found->following[move], 1);
    }
    for (int cluster = 0; cluster < CLUSTERS; cluster++) {
        for (int move = 0; move < MOVES; move++)
            correlations[cluster][move] = sum_of_products(found->shapes[move], shape + cluster * QRS, QRS);
        like[cluster] = correlations[cluster][largest(correlations[cluster], MOVES)];
    }
    found->best = largest(like, CLUSTERS);
    found->dominant = largest(weight, CLUSTERS);
    found->like_best = like[found->best];
    found->like_dominant = like[found->dominant];
    found->joins = found->like_best > of->join_correlation;
    found->move = found->joins ? largest(correlations[found->best], MOVES) : SLACK;
    const float known = of->size[one->row * CLUSTERS + found->dominant];
    found->scale = larger(weight[found->dominant] > 0 ? known : found->sizes[SLACK], of->least_size);
}

/* Write the three numbers of `_compare_waves`. */
static void compare_waves(const templates *of, const float *wave, const float *dominant, float scale, float *numbers)
{
    float one[WAVE], other[WAVE], change[P_WAVE];
    to_unit_vector(wave, WAVE, one, 1);
    to_unit_vector(dominant, WAVE, other, 1);
    numbers[0] = sum_of_products(one, other, WAVE);
    const float mean = sum_of(wave + P_WAVE_FIRST, P_WAVE) / P_WAVE;
    const float dominant_mean = sum_of(dominant + P_WAVE_FIRST, P_WAVE) / P_WAVE;
    for (int i = 0; i < P_WAVE; i++) {
        one[i] = wave[P_WAVE_FIRST + i] - mean;
        other[i] = dominant[P_WAVE_FIRST + i] - dominant_mean;
        change[i] = one[i] - other[i];
    }
    const float difference = sqrtf(sum_of_products(change, change, P_WAVE) / P_WAVE) / scale;
    to_unit_vector(one, P_WAVE, one, 0);
    to_unit_vector(other, P_WAVE, other, 0);
    numbers[1] = sum_of_products(one, other, P_WAVE);
    numbers[2] = log_of(larger(difference, of->least_size)) + 3;
}

static float roughness_of(const templates *of, const float *wave, float scale)
{
    float outside[OUTSIDE];
    int count = 0;
    for (int i = 0; i < WAVE - 2; i++)
        if (i < WAVE_BEFORE - QRS_BEFORE || i >= WAVE_BEFORE + QRS_AFTER)
            outside[count++] = wave[i + 2] - 2 * wave[i + 1] + wave[i];
    const float rough = sqrtf(sum_of_products(outside, outside, OUTSIDE) / OUTSIDE);
    return log_of(larger(rough / scale, of->least_size)) + 3;
}

/* Write the quantiles of the known ones among x (n), `otherwise` if none is known; return how many are. */
static int quantiles_of(const float *x, int n, const double *shares, int count, float otherwise, float *quantiles)
{
    float values[KEPT], ordered[KEPT];
    int known = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(x[i]))
            values[known++] = x[i];
    sort(values, known, ordered);
    for (int i = 0; i < count; i++) {
        const int rank = (int)(known * shares[i]);
        quantiles[i] = known ? ordered[rank < known - 1 ? rank : known - 1] : otherwise;
    }
    return known;
}

/* Write the numbers of RHYTHM_FEATURES; return the logarithm of the recent median RR interval. */
static float describe_rhythm(const templates *of, const beat *one, float *numbers)
{
    static const double long_shares[] = {0.25, 0.5, 0.75}, recent_shares[] = {0.5, 0.8};
    static const double kept_shares[] = {0.1, 0.5, 0.9, 0.97};
    const float *kept = of->intervals + one->row * KEPT, *slow = of->slow + one->row * SLOW;
    const float own = of->own_rr[one->row];
    float rr[3], longer[3], recent[2], quantiles[4], changes[RECENT - 1], steps[ONSET];
    for (int i = 0; i < 3; i++)
        rr[i] = isnan(one->rr[i]) ? own : log_of(larger(one->rr[i], of->least_rr_s));
    const float following = log_of(larger(one->next, of->least_rr_s)), latest = rr[0], mean = sum_of(rr, 3) / 3;
    quantiles_of(kept + KEPT - LONG, LONG, long_shares, 3, own, longer);
    quantiles_of(kept + KEPT - RECENT, RECENT, recent_shares, 2, own, recent);
    int count = 0;
    for (int i = 0; i < RECENT - 1; i++) {
        const float change = fabsf(kept[KEPT - RECENT + i + 1] - kept[KEPT - RECENT + i]);
        count += !isnan(change);
        changes[i] = isnan(change) ? 0 : change;
    }
    for (int i = 0; i < ONSET; i++) {
        const float after = i + 1 < ONSET ? kept[KEPT - ONSET + i + 1] : latest;
        const float step = after - kept[KEPT - ONSET + i];
        steps[i] = isnan(step) ? 0 : step;
    }
    for (int i = 0; i < 3; i++)
        *numbers++ = rr[i] - own;
    *numbers++ = following - own;
    *numbers++ = latest - recent[0];
    *numbers++ = following - recent[0];
    *numbers++ = latest - following;
    *numbers++ = latest - recent[1];
    for (int i = 0; i < 3; i++)
        *numbers++ = latest - longer[i];
    *numbers++ = mean - longer[1];
    *numbers++ = mean - longer[2];
    *numbers++ = count > 2 ? 4 * sum_of(changes, RECENT - 1) / count : 0;
    *numbers++ = own - of->first_log_rr;
    *numbers++ = steps[smallest(steps, ONSET)];
    *numbers++ = (float)smallest(steps, ONSET) / ONSET;
    *numbers++ = steps[largest(steps, ONSET)];
    *numbers++ = one->no_next;
    const int all = quantiles_of(kept, KEPT, kept_shares, 4, own, quantiles), known = all ? all : 1;
    for (int i = 0; i < 4; i++)
        *numbers++ = latest - quantiles[i];
    for (int i = 0; i < 4; i++)
        *numbers++ = following - quantiles[i];
    int near = 0, similar = 0, shorter = 0, similar_next = 0;
    for (int i = 0; i < KEPT; i++) { /* no comparison with NaN is true */
        const float away = kept[i] - latest;
        near += fabsf(away) < of->near;
        similar += fabsf(away) < of->similar;
        shorter += away < -of->similar;
        similar_next += fabsf(kept[i] - following) < of->similar_next;
    }
    *numbers++ = (float)near / known;
    *numbers++ = (float)similar / known;
    *numbers++ = (float)shorter / known;
    *numbers++ = (float)similar_next / known;
    for (int i = 0; i < SLOW; i++)
        *numbers++ = latest - (isnan(slow[i]) ? own : slow[i]);
    for (int i = 0; i < SLOW; i++)
        *numbers++ = following - (isnan(slow[i]) ? own : slow[i]);
    *numbers++ = log_1p_of(of->unsteady[one->row]) / 4;
    return recent[0];
}

/* Write the numbers of SHAPE_FEATURES up to `next_like_dominant`. */
static float *describe_shape(const templates *of, const beat *one, comparison *found, float *numbers)
{
    const intptr_t row = one->row, first = row * CLUSTERS;
    const float total = larger(sum_of(of->weight + first, CLUSTERS), of->least_size);
    const float size = larger(found->sizes[SLACK], of->least_size), weight = of->weight[first + found->best];
    *numbers++ = found->like_dominant;
    *numbers++ = found->like_best;
    *numbers++ = weight / total;
    *numbers++ = of->weight[first + found->dominant] / total;
    *numbers++ = log_1p_of(weight) / 3;
    *numbers++ = of->rr[first + found->best];
    *numbers++ = of->next[first + found->best];
    *numbers++ = log_of(size / found->scale);
    *numbers++ = log_of(size / larger(of->last_size[row], of->least_size));
    *numbers++ = best_correlation(found->shapes, of->last_shape + row * QRS);
    *numbers++ = best_correlation(found->shapes, found->following[SLACK]);
    *numbers++ = of->last_like[row];
    *numbers++ = best_correlation(found->following, of->shape + (first + found->dominant) * QRS);
    return numbers;
}

/* Learn ln(RR) `interval`, NaN if unknown; `recent` as of `describe_rhythm`, `dominant`: between two dominant beats. */
static void learn_rhythm(const templates *of, intptr_t row, float interval, float recent, int dominant)
{
    float *kept = of->intervals + row * KEPT, *slow = of->slow + row * SLOW, *own = of->own_rr + row;
    if (!isnan(interval)) {
        const float rate = dominant ? (of->learnt[row] < 8 ? 0.3f : 0.1f) : 0.02f;
        *own = *own + rate * clip((dominant ? interval : recent) - *own, 0.3f);
        const float away = interval - slow[SLOW - 1];
        const int steady = fabsf(away) < of->similar;
        of->unsteady[row] = steady || isnan(slow[SLOW - 1]) ? 0 : of->unsteady[row] + 1;
        const float moved = steady ? of->sinus_rate * away : away > 0 ? of->sinus_rise : of->sinus_fall;
        slow[SLOW - 1] = isnan(slow[SLOW - 1]) ? interval : slow[SLOW - 1] + moved;
        for (int i = 0; i < SLOW - 1; i++) {
            const float off = interval - slow[i];
            const double step = (off > of->slow_step[i] ? of->slow_shares[i] : 0) -
                                (off < -of->slow_step[i] ? 1 - of->slow_shares[i] : 0);
            slow[i] = isnan(slow[i]) ? interval : slow[i] + (float)(of->slow_step[i] * step);
        }
    }
    memmove(kept, kept + 1, sizeof(float) * (KEPT - 1));
    kept[KEPT - 1] = interval;
    of->learnt[row] += 1;
}

static inline void update_mean(float *mean, float new, float rate) { *mean = *mean * (1 - rate) + new * rate; }

/* Add a beat to a cluster and to the rhythm; return the cluster. */
static int learn(const templates *of, const beat *one, comparison *found, float level, float recent)
{
    const intptr_t row = one->row, first = row * CLUSTERS;
    float *weight = of->weight + first;
    for (int i = 0; i < CLUSTERS; i++)
        weight[i] *= of->weight_fade;
    const int cluster = found->joins ? found->best : smallest(weight, CLUSTERS); /* a new one replaces the lightest */
    const float beats = (found->joins ? weight[cluster] : 0) + 1;
    const float rate = 1 / (beats < of->mean_beats ? beats : of->mean_beats);
    weight[cluster] = beats;
    float *shape = of->shape + (first + cluster) * QRS, *wave = of->wave + (first + cluster) * WAVE;
    for (int i = 0; i < QRS; i++)
        update_mean(shape + i, found->shapes[found->move][i], rate);
    to_unit_vector(shape, QRS, shape, 0);
    for (int i = 0; i < WAVE; i++)
        update_mean(wave + i, one->wave[found->move + i] - level, rate);
    update_mean(of->size + first + cluster, found->sizes[SLACK], rate);
    const float interval = one->rr[0], log_rr = isnan(interval) ? NAN : log_of(larger(interval, of->least_rr_s));
    const float log_next = log_of(larger(one->next, of->least_rr_s));
    update_mean(of->rr + first + cluster, isnan(log_rr) ? 0 : clip(log_rr - recent, 1.5f), rate);
    update_mean(of->next + first + cluster, clip(log_next - recent, 1.5f), rate);
    const int dominant = found->like_dominant > of->join_correlation && of->last_like[row] > of->join_correlation;
    learn_rhythm(of, row, interval < of->pause_rr_s ? log_rr : NAN, recent, dominant);
    of->beats_seen[row] += 1;
    memcpy(of->last_shape + row * QRS, found->shapes[SLACK], sizeof(float) * QRS);
    of->last_size[row] = found->sizes[SLACK];
    of->last_like[row] = found->like_dominant;
    return cluster;
}

/* Describe a beat and learn from it; write its input (3 * WAVE + FEATURES), cluster, and noise. */
static void describe_beat(const templates *of, const beat *one, float *input, intptr_t *cluster, uint8_t *new,
                          float *noise)
{
    static const float nothing[WAVE];
    const intptr_t first = one->row * CLUSTERS;
    comparison found;
    float wave[WAVE], *numbers = input + 3 * WAVE, *quality = of->quality + 4 * one->row;
    compare_shapes(of, one, &found);
    const float level = median_of(one->wave + SLACK);
    for (int i = 0; i < WAVE; i++)
        wave[i] = one->wave[SLACK + i] - level;
    const float *dominant = of->wave + (first + found.dominant) * WAVE;
    const float *waves[] = {wave, dominant, found.joins ? of->wave + (first + found.best) * WAVE : nothing};
    for (int which = 0; which < 3; which++)
        for (int i = 0; i < WAVE; i++)
            *input++ = clip(waves[which][i] / found.scale, 4);
    const float recent = describe_rhythm(of, one, numbers);
    float *shape = describe_shape(of, one, &found, numbers + RHYTHM_FEATURES);
    compare_waves(of, wave, dominant, found.scale, shape);
    shape[3] = roughness_of(of, wave, found.scale);
    const float measured[] = {shape[3], found.like_best, shape[2], one->score > 0};
    shape[4] = (one->score < 12 ? one->score : 12) / 6;
    shape[5] = log_1p_of(of->beats_seen[one->row]) / 4;
    for (int i = 0; i < 4; i++)
        shape[6 + i] = quality[i] = quality[i] + (measured[i] - quality[i]) / of->quality_beats;
    for (int i = 0; i < FEATURES; i++)
        numbers[i] = clip(numbers[i], i < RHYTHM_FEATURES ? of->rhythm_limit : of->shape_limit);
    *noise = quality[2];
    *new = !found.joins;
    *cluster = one->score > 0 ? learn(of, one, &found, level, recent) : -1;
}

/* Describe n beats one after the other, of any rows; `BeatTemplates.describe` says what the arrays are. */
FOR_EACH_PROCESSOR
void describe_beats(const templates *of, int n, const intptr_t *rows, const float *waves, const float *following,
                    const float *rr, const float *next, const uint8_t *no_next, const float *score, float *inputs,
                    intptr_t *cluster, uint8_t *new, float *noise)
{
    for (int i = 0; i < n; i++) {
        const beat one = {rows[i],          waves + i * (WAVE + 2 * SLACK), following + i * (QRS + 2 * SLACK),
                          rr + i * 3,       next[i],                        score[i],
                          no_next[i]};
        describe_beat(of, &one, inputs + i * (3 * WAVE + FEATURES), cluster + i, new + i, noise + i);
    }
}
