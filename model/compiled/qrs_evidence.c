/* What speaks for a QRS candidate being a beat: `QrsEvidence`, to the last bit.

It must be compiled without contraction to fused multiply-add. `agent/analysis/qrs_evidence.py` says what is computed;
functions here have the names that they have there.
*/

#include <math.h>
#include <string.h>

#include "processors.h"
#include "qrs_state.h"

static inline double larger(double a, double b) { return b > a ? b : a; }
static inline double smaller(double a, double b) { return b < a ? b : a; }
static inline double limit(double value, double least, double most)
{
    return value < least ? least : value > most ? most : value;
}

static inline double sum_of_products(const double *x, const double *y, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

static void sort_integers(int64_t *values, int n)
{
    for (int i = 1; i < n; i++) {
        const int64_t value = values[i];
        int at = i;
        for (; at > 0 && values[at - 1] > value; at--)
            values[at] = values[at - 1];
        values[at] = value;
    }
}

static void start_level(level *of, double value, int count)
{
    for (int i = 0; i < count; i++)
        of->values[i] = of->ordered[i] = value;
    of->count = count;
    of->oldest = 0;
    of->value = value;
}

static void add_to_level(level *of, double value)
{
    double *ordered = of->ordered;
    int count = of->count, at = 0;
    if (count == LEVEL_COUNT) {
        const double old = of->values[of->oldest];
        while (at < count - 1 && ordered[at] < old)
            at++;
        count--;
        memmove(ordered + at, ordered + at + 1, sizeof(double) * (count - at));
        of->values[of->oldest] = value;
        of->oldest = (of->oldest + 1) % LEVEL_COUNT;
    } else
        of->values[count] = value;
    for (at = count; at > 0 && ordered[at - 1] > value; at--)
        ordered[at] = ordered[at - 1];
    ordered[at] = value;
    of->count = count + 1;
    of->value = ordered[of->count / 2];
}

static inline double floor_of(const candidate *one) { return smaller(one->before, one->after); }
static inline double sharpness_of(const candidate *one) { return one->sharpness; }

/* Of the candidates of a list that are larger than `least_size`: the value at a place of all in order, counted from the
first one on, or from the end if it is below 0. Found without an order, since the list may have any length. */
static double value_at(const detector *of, int32_t first, double (*value_of)(const candidate *), double least_size,
                       int64_t at)
{
    for (int32_t i = first; i >= 0; i = of->pool[i].next) {
        const double value = value_of(&of->pool[i].one);
        int64_t below = 0, equal = 0, all = 0;
        if (!(of->pool[i].one.size > least_size))
            continue;
        for (int32_t j = first; j >= 0; j = of->pool[j].next)
            if (of->pool[j].one.size > least_size) {
                below += value_of(&of->pool[j].one) < value;
                equal += value_of(&of->pool[j].one) == value;
                all++;
            }
        const int64_t place = at < 0 ? all + at : at;
        if (below <= place && place < below + equal)
            return value;
    }
    return 0;
}

static double usual_of_largest(const detector *of, int32_t first, int32_t last)
{
    const int64_t begin = of->pool[first].one.known, span = of->pool[last].one.known - begin;
    const int64_t length = span > 1 ? span : 1;
    double least = of->pool[first].one.size;
    for (int32_t i = first; i >= 0; i = of->pool[i].next)
        least = smaller(least, of->pool[i].one.size);
    double highest[3] = {least, least, least};
    for (int32_t i = first; i >= 0; i = of->pool[i].next) {
        const int64_t ahead = 3 * (of->pool[i].one.known - begin), third = ahead / length - (ahead % length < 0);
        const int64_t part = third < -3 ? 0 : third < 0 ? third + 3 : third < 2 ? third : 2; /* -1 is Python's last */
        highest[part] = larger(highest[part], of->pool[i].one.size);
    }
    const double high = larger(highest[0], highest[1]), low = smaller(highest[0], highest[1]);
    const double most = larger(high, highest[2]), middle = larger(low, smaller(high, highest[2]));
    return larger(middle, most - 0.9);
}

void start_evidence(const detector *of, evidence *known, int32_t first, int32_t last)
{
    const double size = usual_of_largest(of, first, last);
    int64_t count = 0, large = 0;
    for (int32_t i = first; i >= 0; i = of->pool[i].next) {
        large += of->pool[i].one.size > size - 1;
        count++;
    }
    memset(known, 0, sizeof *known);
    start_level(&known->beats, size, 3);
    start_level(&known->sharpness, value_at(of, first, sharpness_of, size - 1, large < 8 ? -1 : -(large / 4)), 3);
    start_level(&known->floors, value_at(of, first, floor_of, -INFINITY, count / 2), 3);
    start_level(&known->likeness, of->usual_likeness, 1);
}

FOR_EACH_PROCESSOR
double liken(const detector *of, const evidence *known, const candidate *one)
{
    if (known->beats_seen < 2 || one->size < known->beats.value - of->small)
        return of->usual_likeness;
    double sums[LAGS][SHAPES] = {{0}}, best = -INFINITY, second = -INFINITY;
    for (int i = 0; i < SHAPE; i++)
        for (int lag = 0; lag < LAGS; lag++)
            for (int shape = 0; shape < SHAPES; shape++)
                sums[lag][shape] += known->shapes[i][shape] * one->wide[i + lag];
    for (int lag = 1; lag < LAGS; lag++)
        for (int shape = 0; shape < SHAPES; shape++)
            sums[0][shape] = larger(sums[0][shape], sums[lag][shape]);
    for (int shape = 0; shape < SHAPES; shape++) {
        second = larger(second, smaller(best, sums[0][shape]));
        best = larger(best, sums[0][shape]);
    }
    return second > 0 ? second : 0;
}

int resembles_beats(const detector *of, const evidence *known, const candidate *one)
{
    const double blunter = known->sharpness.value - known->beats.value - one->sharpness + one->size;
    return blunter < 0.3 && liken(of, known, one) > 0.9;
}

void look_at(const detector *of, evidence *known, const candidate *one, double *look)
{
    const double low = floor_of(one), high = one->before > one->after ? one->before : one->after;
    add_to_level(&known->floors, low);
    const double beyond = one->size - known->beats.value;
    look[0] = limit(beyond, -3, 0.3);
    look[1] = limit(beyond - 0.3, 0, 1);
    look[2] = limit(one->sharpness - known->sharpness.value, -2, 1);
    look[3] = liken(of, known, one) - known->likeness.value;
    look[4] = limit(one->size - high, -0.5, 3);
    look[5] = limit(one->size - low, 0, 4);
    look[6] = limit(one->size - known->floors.value, 0, 5);
}

/* Write the terms `t_wave` to `waited`. */
static void time_terms(const detector *of, const evidence *known, const candidate *one, double *terms)
{
    const double since = (double)(one->known - known->last);
    memset(terms, 0, sizeof(double) * 5);
    terms[4] = 1;
    if (!known->has_last) {
        terms[3] = of->first_on_time;
        return;
    }
    if (since < of->t_wave_end) {
        terms[0] = limit((of->t_wave_end - since) / of->t_wave_length, 0, 1);
        terms[1] = terms[0] * limit(known->last_sharpness - one->sharpness, 0, 2);
    }
    if (!known->usual)
        return;
    terms[2] = limit(0.9 - since / known->shortest, 0, 0.6);
    const double intervals = since / known->usual, away = 1 - fabs(intervals - 1) / 0.15;
    terms[3] = away > 0 ? known->regularity * away : 0;
    terms[4] = intervals < 2 ? intervals : 2;
}

void write_terms(const detector *of, const evidence *known, const candidate *one, const double *look,
                        double *terms)
{
    terms[0] = 1;
    memcpy(terms + FIRST_OWN, look, sizeof(double) * OWN_COUNT);
    time_terms(of, known, one, terms + FIRST_OWN + OWN_COUNT);
    terms[13] = limit(known->floors.value - known->beats.value, -5, 0);
    terms[14] = known->regularity;
    terms[FOLLOWED] = terms[RIVAL] = 0;
}

double score_terms(const detector *of, const double *terms) { return sum_of_products(of->weights, terms, TERMS); }

void count_follower(const detector *of, double *terms, const double *look)
{
    const double *own = of->weights + FIRST_OWN;
    const double lead = sum_of_products(own, look, OWN_COUNT) - sum_of_products(own, terms + FIRST_OWN, OWN_COUNT);
    terms[FOLLOWED] = 1;
    terms[RIVAL] = limit(lead, -of->most_rival, of->most_rival);
}

static void learn_interval(evidence *known, int64_t interval)
{
    int64_t ordered[LEVEL_COUNT];
    if (known->interval_count == LEVEL_COUNT) {
        memmove(known->intervals, known->intervals + 1, sizeof(int64_t) * (LEVEL_COUNT - 1));
        known->interval_count--;
    }
    known->intervals[known->interval_count++] = interval;
    const int count = known->interval_count;
    if (count < 3)
        return;
    memcpy(ordered, known->intervals, sizeof ordered);
    sort_integers(ordered, count);
    known->shortest = ordered[1];
    known->usual = ordered[count / 2];
    int near = 0;
    for (int i = 0; i < count; i++)
        near += ordered[i] <= 1.12 * known->usual && ordered[i] >= 0.88 * known->usual;
    known->regularity = (double)near / count;
}

void accept_beat(evidence *known, const candidate *one, const double *terms)
{
    if (known->has_last)
        learn_interval(known, one->known - known->last);
    known->has_last = 1;
    known->last = known->previous = one->known;
    known->last_sharpness = one->sharpness;
    if (known->beats_seen > 1)
        add_to_level(&known->likeness, terms[ALIKE] + known->likeness.value);
    add_to_level(&known->beats, one->size);
    add_to_level(&known->sharpness, one->sharpness);
    for (int i = 0; i < SHAPE; i++)
        known->shapes[i][known->beats_seen % SHAPES] = one->wide[LAGS / 2 + i];
    known->beats_seen++;
}

static int is_twin(const detector *of, const evidence *known, const candidate *one)
{
    return fabs(one->size - known->beats.value) < of->twin_tolerance &&
           fabs(one->sharpness - known->sharpness.value) < of->twin_tolerance && liken(of, known, one) > 0.9;
}

void reject_candidate(const detector *of, evidence *known, const candidate *one)
{
    if (one->size > known->beats.value + 0.7) {
        double best = -INFINITY;
        for (int lag = 0; lag < LAGS; lag++)
            best = larger(best, sum_of_products(known->larger, one->wide + lag, SHAPE));
        known->larger_count = best > 0.9 ? known->larger_count + 1 : 0;
        memcpy(known->larger, one->wide + LAGS / 2, sizeof known->larger);
    }
    const int64_t step = one->known - known->previous;
    known->previous = one->known;
    known->twin_count = step <= of->longest_step && is_twin(of, known, one) ? known->twin_count + 1 : 0;
    if (known->twin_count < of->most_twins)
        return;
    for (int i = 0; i < LEVEL_COUNT; i++) /* the intervals that were measured left beats out */
        known->intervals[i] = step;
    known->interval_count = LEVEL_COUNT;
    known->shortest = known->usual = step;
    known->regularity = 1;
    known->twin_count = 0;
}

int is_trusted(const evidence *known) { return known->likeness.value > 0.75; }

int is_reversed(const detector *of, const evidence *known) { return known->larger_count >= of->most_larger; }

int has_size_of_beat(const evidence *known, const candidate *one) { return one->size > known->beats.value - 1.4; }
