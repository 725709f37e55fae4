/* The first two convolutions of the report's net as one, for its training: `first_layers` says how.

Between them there is no ReLU, so 9 products and a bias give what 5 and 160 do, and the gradients of both follow from
those of the joined weights, once a batch.
*/

#include "beat_training.h"

#define JOINED_TAPS (2 * TAPS - 1)
#define BIAS TAPS

INLINE int is_inside(int at) { return at >= 0 && at < SAMPLES; }

/* Make `to` from the weights. */
FOR_EACH_PROCESSOR
void join_layers(const parameters *weights, first_layers *to)
{
    memset(to, 0, sizeof(*to));
    for (int c = 0; c < CHANNELS; c++) {
        for (int tap = 0; tap < TAPS; tap++)
            to->first[tap][c] = weights->first[c][tap];
        to->first[BIAS][c] = weights->first_bias[c];
        to->joined[JOINED_TAPS][c] = weights->blocks[0].bias1[c];
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

/* Map a beat, with zeros at both ends, to the rows x of the first convolution and h of the second one, with ReLU. */
FOR_EACH_PROCESSOR
void run_first_layers(const first_layers *of, const parameters *weights, const float *beat, row *x, row *h)
{
    for (int at = 0; at < SAMPLES; at++)
        for (int c = 0; c < CHANNELS; c += LANES) {
            lanes sum = load(of->first[BIAS] + c);
            for (int tap = 0; tap < TAPS; tap++)
                sum += beat[at + tap - PAD] * load(of->first[tap] + c);
            store(x[at] + c, sum);
            if (is_inside(at - PAD) && is_inside(at + PAD)) {
                sum = load(of->joined[JOINED_TAPS] + c);
                for (int tap = 0; tap < JOINED_TAPS; tap++)
                    sum += beat[at + tap - 2 * PAD] * load(of->joined[tap] + c);
            } else {
                sum = load(weights->blocks[0].bias1 + c);
                for (int tap = 0; tap < TAPS; tap++)
                    if (is_inside(at + tap - PAD)) {
                        sum += load(of->parts[tap][BIAS] + c);
                        for (int i = 0; i < TAPS; i++)
                            sum += beat[at + tap + i - 2 * PAD] * load(of->parts[tap][i] + c);
                    }
            }
            store(h[at] + c, keep(sum, sum > 0));
        }
}

/* Add what a beat gives to the gradients: dx are those of x, apart from what comes through h; dh those of h. */
FOR_EACH_PROCESSOR
void add_first_gradients(const float *beat, const row *dx, const row *dh, first_layers *to)
{
    for (int c = 0; c < CHANNELS; c += LANES) {
        lanes first[TAPS + 1], joined[JOINED_TAPS + 1];
        for (int tap = 0; tap <= BIAS; tap++)
            first[tap] = load(to->first[tap] + c);
        for (int tap = 0; tap <= JOINED_TAPS; tap++)
            joined[tap] = load(to->joined[tap] + c);
        for (int at = 0; at < SAMPLES; at++) {
            const lanes value = load(dx[at] + c);
            first[BIAS] += value;
            for (int tap = 0; tap < TAPS; tap++)
                first[tap] += beat[at + tap - PAD] * value;
        }
        for (int at = PAD; at < SAMPLES - PAD; at++) {
            const lanes value = load(dh[at] + c);
            joined[JOINED_TAPS] += value;
            for (int tap = 0; tap < JOINED_TAPS; tap++)
                joined[tap] += beat[at + tap - 2 * PAD] * value;
        }
        for (int tap = 0; tap <= BIAS; tap++)
            store(to->first[tap] + c, first[tap]);
        for (int tap = 0; tap <= JOINED_TAPS; tap++)
            store(to->joined[tap] + c, joined[tap]);
        for (int end = 0; end < 2 * PAD; end++) {
            const int at = end < PAD ? end : SAMPLES - 2 * PAD + end;
            const lanes value = load(dh[at] + c);
            for (int tap = 0; tap < TAPS; tap++)
                if (is_inside(at + tap - PAD)) {
                    store(to->parts[tap][BIAS] + c, load(to->parts[tap][BIAS] + c) + value);
                    for (int i = 0; i < TAPS; i++)
                        store(to->parts[tap][i] + c,
                              load(to->parts[tap][i] + c) + beat[at + tap + i - 2 * PAD] * value);
                }
        }
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
