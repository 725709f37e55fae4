/* The first two convolutions of the report's net as one, for its training: `first_layers` says how.

Between them there is no ReLU, so 9 products and a bias give what 5 and 160 do, and the gradients of both follow from
those of the joined weights, once a batch.
*/

#include "beat_training.h"

#define JOINED_TAPS (2 * TAPS - 1)
#define BIAS TAPS

INLINE int is_inside(int at) { return at >= 0 && at < SAMPLES; }

/* The rows that see some outside the beat: PAD at each end. */
INLINE int row_at_end(int i) { return i < PAD ? i : SAMPLES - 2 * PAD + i; }

/* Make `to` from the weights. */
FOR_EACH_PROCESSOR
void join_layers(const parameters *weights, first_layers *to)
{
    memset(to, 0, sizeof(*to));
    for (int c = 0; c < CHANNELS; c++) {
        for (int tap = 0; tap < TAPS; tap++)
            to->first[tap][c] = weights->first[c][tap];
        to->first[BIAS][c] = weights->first_bias[c];
    }
    for (int tap = 0; tap < TAPS; tap++)
        for (int of = 0; of <= BIAS; of++)
            for (int output = 0; output < CHANNELS; output++) {
                const float *inputs = weights->blocks[0].kernel1[output][tap];
                float sum = 0;
                for (int input = 0; input < CHANNELS; input++)
                    sum += inputs[input] * to->first[of][input];
                to->parts[tap][of][output] = sum;
                to->joined[of == BIAS ? JOINED_TAPS : tap + of][output] += sum;
            }
}

/* Map a beat, with zeros at both ends, to the rows x of the first convolution and h of the second one, before its ReLU
and without its bias. */
FOR_EACH_PROCESSOR
void run_first_layers(const first_layers *restrict of, const float *restrict beat, row *restrict x, row *restrict h)
{
    for (int at = 0; at < SAMPLES; at++)
        for (int c = 0; c < CHANNELS; c++) {
            float sum = of->first[BIAS][c];
            for (int tap = 0; tap < TAPS; tap++)
                sum += beat[at + tap - PAD] * of->first[tap][c];
            x[at][c] = sum;
        }
    for (int at = PAD; at < SAMPLES - PAD; at++)
        for (int c = 0; c < CHANNELS; c++) {
            float sum = of->joined[JOINED_TAPS][c];
            for (int tap = 0; tap < JOINED_TAPS; tap++)
                sum += beat[at + tap - 2 * PAD] * of->joined[tap][c];
            h[at][c] = sum;
        }
    for (int end = 0; end < 2 * PAD; end++) {
        const int at = row_at_end(end);
        memset(h[at], 0, sizeof(row));
        for (int tap = 0; tap < TAPS; tap++)
            for (int i = 0; i <= BIAS && is_inside(at + tap - PAD); i++)
                for (int c = 0; c < CHANNELS; c++)
                    h[at][c] += (i == BIAS ? 1 : beat[at + tap + i - 2 * PAD]) * of->parts[tap][i][c];
    }
}

/* Add what a beat gives to the gradients: dx are those of x, apart from what comes through h; dh those of h. */
FOR_EACH_PROCESSOR
void add_first_gradients(const float *restrict beat, const row *restrict dx, const row *restrict dh,
                         first_layers *restrict to)
{
    for (int at = 0; at < SAMPLES; at++)
        for (int c = 0; c < CHANNELS; c++) {
            to->first[BIAS][c] += dx[at][c];
            for (int tap = 0; tap < TAPS; tap++)
                to->first[tap][c] += beat[at + tap - PAD] * dx[at][c];
        }
    for (int at = PAD; at < SAMPLES - PAD; at++)
        for (int c = 0; c < CHANNELS; c++) {
            to->joined[JOINED_TAPS][c] += dh[at][c];
            for (int tap = 0; tap < JOINED_TAPS; tap++)
                to->joined[tap][c] += beat[at + tap - 2 * PAD] * dh[at][c];
        }
    for (int end = 0; end < 2 * PAD; end++) {
        const int at = row_at_end(end);
        for (int tap = 0; tap < TAPS; tap++)
            for (int i = 0; i <= BIAS && is_inside(at + tap - PAD); i++)
                for (int c = 0; c < CHANNELS; c++)
                    to->parts[tap][i][c] += (i == BIAS ? 1 : beat[at + tap + i - 2 * PAD]) * dh[at][c];
    }
}

/* Add the gradients of the joined weights to those of both layers; the second one's bias has its own. */
FOR_EACH_PROCESSOR
void split_gradients(const first_layers *of, const parameters *weights, const first_layers *gradients, parameters *to)
{
    float first[TAPS + 1][CHANNELS];
    memcpy(first, gradients->first, sizeof(first));
    for (int tap = 0; tap < TAPS; tap++)
        for (int part = 0; part <= BIAS; part++)
            for (int output = 0; output < CHANNELS; output++) {
                const float gradient = gradients->parts[tap][part][output] +
                                       gradients->joined[part == BIAS ? JOINED_TAPS : tap + part][output];
                const float *inputs = weights->blocks[0].kernel1[output][tap];
                float *sums = to->blocks[0].kernel1[output][tap];
                for (int input = 0; input < CHANNELS; input++) {
                    sums[input] += gradient * of->first[part][input];
                    first[part][input] += gradient * inputs[input];
                }
            }
    for (int c = 0; c < CHANNELS; c++) {
        for (int tap = 0; tap < TAPS; tap++)
            to->first[c][tap] += first[tap][c];
        to->first_bias[c] += first[BIAS][c];
    }
}
