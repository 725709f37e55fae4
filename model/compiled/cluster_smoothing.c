/* Smoothing of the classes of beats: `model/beats/cluster_smoothing.py` says what it is, and gives the same numbers. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define CLASSES 5
#define NO_BEAT CLASSES
#define MOST_CLUSTERS 8

enum { N, S, V, F, Q };

/* What is known of a cluster: the mean log-odds of V of `count` beats. */
typedef struct {
    double mean;
    int64_t count;
} cluster;

/* What `CompiledSmoothing` fills in. */
typedef struct {
    double bias[CLASSES + 1], share, half_share, most_odds, noisy_level, noise_bias, exponent;
    int64_t memory, known_shape;
    cluster (*rows)[MOST_CLUSTERS];
} smoothing;

static double log_add_exp(double a, double b)
{
    return (a > b ? a : b) + log1p(exp(-fabs(a - b)));
}

/* Write the class probabilities of a beat; return whether it is one. */
static int smooth_beat(const smoothing *of, cluster *clusters, const double *logs, int64_t number, int is_new,
                       double noise, double *probabilities)
{
    const int noisy = noise > of->noisy_level;
    double scores[CLASSES + 1], all = 0, total = 0;
    cluster known = {0, 0};
    for (int i = 0; i <= CLASSES; i++)
        scores[i] = logs[i] + of->bias[i];
    if (number >= 0 && !is_new)
        known = clusters[number];
    if (number >= 0) {
        const double odds = scores[V] - log_add_exp(scores[N], scores[S]);
        const double below = odds < of->most_odds ? odds : of->most_odds;
        const double own = below > -of->most_odds ? below : -of->most_odds;
        scores[V] += of->share * (double)known.count / ((double)known.count + of->half_share) * (known.mean - own);
        if (!noisy) {
            known.count = known.count < of->memory ? known.count + 1 : of->memory;
            clusters[number] = (cluster){known.mean + (own - known.mean) / (double)known.count, known.count};
        } else if (is_new) {
            clusters[number] = (cluster){0, 0};
        }
    }
    if (noisy)
        scores[NO_BEAT] += of->noise_bias;
    for (int i = 0; i < CLASSES; i++)
        all += exp(logs[i]);
    if (scores[NO_BEAT] > log(all))
        return 0;
    double highest = scores[0];
    for (int i = 1; i < CLASSES; i++)
        highest = scores[i] > highest ? scores[i] : highest;
    for (int i = 0; i < CLASSES; i++)
        probabilities[i] = exp(scores[i] - highest);
    if (noisy && known.count < of->known_shape) {
        probabilities[Q] += probabilities[S] + probabilities[V];
        probabilities[S] = probabilities[V] = 0;
    }
    for (int i = 0; i < CLASSES; i++) {
        if (of->exponent != 1)
            probabilities[i] = pow(probabilities[i], of->exponent);
        total += probabilities[i];
    }
    for (int i = 0; i < CLASSES; i++)
        probabilities[i] /= total;
    return 1;
}

/* Smooth `count` beats of `rows` in order: logs (count, 6); write probabilities (count, 5) and which are beats. */
void smooth_beats(const smoothing *of, int64_t count, const int64_t *rows, const double *logs, const int64_t *numbers,
                  const uint8_t *is_new, const double *noise, double *probabilities, uint8_t *is_beat)
{
    for (int64_t i = 0; i < count; i++)
        is_beat[i] = (uint8_t)smooth_beat(of, of->rows[rows[i]], logs + (CLASSES + 1) * i, numbers[i], is_new[i],
                                          noise[i], probabilities + CLASSES * i);
}
