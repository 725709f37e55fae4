/* Products of rows that hold many zeros, for the training of the report's net: only what a row's marks name is multiplied.

What is left out would have added zeros, so no sum changes. Sums have a fixed order, which does not hang on the width of
the processor's registers: those of 16 values hold the sums of all channels at once, narrower ones those of half of them.
*/

#include "beat_training.h"

INLINE void finish_row(const convolution *of, int at, int output, lanes sum)
{
    if (of->bias)
        sum += load(of->bias + output);
    if (of->other)
        sum += load(of->other[at] + output);
    if (of->relu)
        sum = keep(sum, sum > 0);
    if (of->gate)
        sum = keep(sum, load(of->gate[at] + output) > 0);
    store(of->y[at] + output, sum);
}

INLINE void convolve(const convolution *of, const int vectors)
{
    for (int output = 0; output < CHANNELS; output += vectors * LANES) {
        row_lists *lists = output ? NULL : of->lists;
        lanes sums[TAPS][VECTORS] = {0}; /* of the rows from two before to two behind */
        for (int at = 0; at < of->length + PAD; at++) {
            const float *x = of->x[at];
            for (uint32_t left = of->marks[at]; left; left &= left - 1) {
                const int input = __builtin_ctz(left);
                const float value = x[input], *weights = of->weights[input][0] + output;
                for (int tap = 0; tap < TAPS; tap++)
                    for (int v = 0; v < vectors; v++)
                        sums[tap][v] += value * load(weights + tap * CHANNELS + v * LANES);
                if (lists)
                    lists->rows[input][lists->counts[input]++] = (uint16_t)(of->first + at);
            }
            for (int v = 0; v < vectors; v++) {
                if (at >= PAD)
                    finish_row(of, at - PAD, output + v * LANES, sums[0][v]);
                for (int tap = 0; tap + 1 < TAPS; tap++)
                    sums[tap][v] = sums[tap + 1][v];
                sums[TAPS - 1][v] = (lanes){0};
            }
        }
    }
}

INLINE void correlate(const row *g, const row *x, row_lists *lists, float (*gradient)[TAPS][CHANNELS],
                      const int vectors)
{
    for (int output = 0; output < CHANNELS; output++) {
        const int n = lists->counts[output];
        lists->counts[output] = 0;
        for (int input = 0; input < CHANNELS; input += vectors * LANES) {
            float *sum = gradient[output][0] + input;
            lanes sums[TAPS][VECTORS];
            for (int tap = 0; tap < TAPS; tap++)
                for (int v = 0; v < vectors; v++)
                    sums[tap][v] = load(sum + tap * CHANNELS + v * LANES);
            for (int i = 0; i < n; i++) {
                const int at = lists->rows[output][i];
                const float value = g[at][output], *first = x[at - PAD] + input;
                for (int tap = 0; tap < TAPS; tap++)
                    for (int v = 0; v < vectors; v++)
                        sums[tap][v] += value * load(first + tap * CHANNELS + v * LANES);
            }
            for (int tap = 0; tap < TAPS; tap++)
                for (int v = 0; v < vectors; v++)
                    store(sum + tap * CHANNELS + v * LANES, sums[tap][v]);
        }
    }
}

/* Convolve the rows of a beat. */
FOR_EACH_PROCESSOR
void convolve_rows(const convolution *of)
{
    if (WIDE_REGISTERS)
        convolve(of, VECTORS);
    else
        convolve(of, 1);
}

/* Add to the gradient of a kernel (outputs, TAPS, inputs) the products of its outputs' gradients g with its inputs x, for
the rows in the lists; empty these. */
FOR_EACH_PROCESSOR
void correlate_rows(const row *g, const row *x, row_lists *lists, float (*gradient)[TAPS][CHANNELS])
{
    if (WIDE_REGISTERS)
        correlate(g, x, lists, gradient, VECTORS);
    else
        correlate(g, x, lists, gradient, 1);
}
