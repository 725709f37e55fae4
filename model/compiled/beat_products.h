/* The functions of `beat_convolution.c`, which includes this for each width of the processor's registers, LANES values.
The sums of PASS channels stay in registers, two for each of the TAPS rows. */

#define PASS (2 * LANES)

typedef float SIZED(lanes) __attribute__((vector_size(4 * LANES), aligned(4)));

TARGET
static void SIZED(convolve)(const row *x, const uint32_t *marks, int length, const kernel weights, row *y,
                            row_lists *lists)
{
    typedef SIZED(lanes) lanes;
    for (int output = 0; output < CHANNELS; output += PASS) {
        lanes sums[TAPS][2] = {0}; /* of the rows from two before to two behind */
        for (int at = 0; at < length + PAD; at++) {
            for (uint32_t left = marks[at]; left; left &= left - 1) {
                const int input = __builtin_ctz(left);
                const float value = x[at][input], *first = weights[input][0] + output;
                for (int tap = 0; tap < TAPS; tap++)
                    for (int i = 0; i < 2; i++)
                        sums[tap][i] += value * *(const lanes *)(first + tap * CHANNELS + i * LANES);
                if (lists && output == 0)
                    lists->rows[input][lists->counts[input]++] = (uint8_t)at;
            }
            if (at >= PAD)
                memcpy(y[at - PAD] + output, sums[0], sizeof(float) * PASS);
            for (int i = 0; i < 2; i++) {
                for (int tap = 0; tap + 1 < TAPS; tap++)
                    sums[tap][i] = sums[tap + 1][i];
                sums[TAPS - 1][i] = (lanes){0};
            }
        }
    }
}

TARGET
static void SIZED(correlate)(const row *g, const row *x, row_lists *lists, kernel gradient)
{
    typedef SIZED(lanes) lanes;
    for (int output = 0; output < CHANNELS; output++) {
        const int n = lists->counts[output];
        lists->counts[output] = 0;
        for (int input = 0; input < CHANNELS; input += PASS) {
            lanes sums[TAPS][2];
            for (int tap = 0; tap < TAPS; tap++)
                memcpy(sums[tap], gradient[output][tap] + input, sizeof(float) * PASS);
            for (int i = 0; i < n; i++) {
                const int at = lists->rows[output][i];
                const float value = g[at][output], *first = x[at - PAD] + input;
                for (int tap = 0; tap < TAPS; tap++)
                    for (int half = 0; half < 2; half++)
                        sums[tap][half] += value * *(const lanes *)(first + tap * CHANNELS + half * LANES);
            }
            for (int tap = 0; tap < TAPS; tap++)
                memcpy(gradient[output][tap] + input, sums[tap], sizeof(float) * PASS);
        }
    }
}

#undef LANES
#undef PASS
#undef SIZED
#undef TARGET
