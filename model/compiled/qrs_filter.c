/* The signal side of the QRS detector: `QrsCandidateFinder` for one bed at a time, without its temporary arrays.

The same sums in the same order as NumPy's, so that the results are the same to the last bit: it must be compiled without
contraction to fused multiply-add. `agent/analysis/qrs_filter.py` says what is computed.
*/

#include <math.h>
#include <string.h>

#include "numpy_sum.h"
#include "processors.h"
#include "qrs_state.h"

DEFINE_SUM(double)

/* `qrs_energy`: write the n energies of a signal (n + TAPS - 1) mV. */
static inline void measure_energy(const detector *of, const float *signal, int n, float *energy)
{
    const float side = (float)of->hum_side, middle = (float)of->hum_middle;
    float slope[PIECE + TAPS], pair[PIECE + TAPS], smooth[PIECE + TAPS];
    float band[PIECE + TAPS], envelope[PIECE + TAPS], two[PIECE + TAPS];
    for (int i = 0; i < n + 18; i++)
        slope[i] = signal[i + TAP_SPAN] - signal[i];
    for (int i = 0; i < n + 17; i++)
        pair[i] = slope[i + 1] + slope[i];
    for (int i = 0; i < n + 15; i++)
        smooth[i] = (pair[i + 2] + pair[i]) * side + pair[i + 1] * middle;
    for (int i = 0; i < n + 11; i++)
        band[i] = smooth[i + TAP_SPAN] - smooth[i];
    for (int i = 0; i < n + 7; i++) {
        const float turn = band[i + 4] - band[i];
        envelope[i] = sqrtf(turn * turn + band[i + 2] * band[i + 2]);
    }
    for (int i = 0; i < n + 6; i++)
        two[i] = envelope[i + 1] + envelope[i];
    for (int i = 0; i < n; i++)
        energy[i] = (two[i + 6] + two[i + 4]) + (two[i + 2] + two[i]);
}

/* Whether the middle of energies (2 REACH + 1) is above all before it and none after it is above it. */
static inline int is_local_maximum(const float *energy, float least)
{
    const float middle = energy[REACH];
    if (!(middle > least && middle > energy[REACH - 1] && middle >= energy[REACH + 1]))
        return 0;
    int above = 0;
    for (int i = 0; i < REACH; i++)
        above += (middle > energy[i]) + (middle >= energy[REACH + 1 + i]);
    return above == 2 * REACH; /* no comparison with NaN is true */
}

/* `_locate_r_peaks`: the place of the R peak in a stretch. */
static inline int locate_r_peak(const detector *of, const double *stretch)
{
    const double baseline = sum_of(stretch, STRETCH) / STRETCH;
    double tallest = 0;
    int at = 0;
    for (int i = 0; i <= LAST_R - FIRST_R; i++) {
        const double deviation = (stretch[FIRST_R + i] - baseline) * of->taper[i];
        const double up = 1.5 * deviation, down = -deviation, height = up > down ? up : down;
        if (i == 0 || height > tallest) {
            tallest = height;
            at = i;
        }
    }
    return FIRST_R + at;
}

/* `_describe_shapes`: write the wide shape of a stretch, return its greatest curvature. */
static inline double describe_shape(const detector *of, const double *stretch, double *wide)
{
    double shifted[STRETCH], pair[STRETCH - 1], quiet[STRETCH - 3], squares[WIDE], sharpness = 0;
    for (int i = 0; i < STRETCH; i++)
        shifted[i] = stretch[i] - stretch[0];
    for (int i = 0; i < STRETCH - 1; i++)
        pair[i] = shifted[i + 1] + shifted[i];
    for (int i = 0; i < STRETCH - 3; i++)
        quiet[i] = (pair[i + 2] + pair[i]) * of->hum_side + pair[i + 1] * of->hum_middle;
    const int middle = (STRETCH - 7) / 2;
    for (int i = middle - SHARP_REACH; i <= middle + SHARP_REACH; i++) {
        const double curvature = fabs((quiet[i + 4] - 2 * quiet[i + 2]) + quiet[i]);
        sharpness = curvature > sharpness ? curvature : sharpness;
    }
    const int first = (STRETCH - 3 - 2 * TAP_SPAN - SHAPE) / 2 - LAGS / 2;
    for (int i = 0; i < WIDE; i++) {
        const double *at = quiet + first + i;
        wide[i] = (at[2 * TAP_SPAN] - 2 * at[TAP_SPAN]) + at[0];
        squares[i] = wide[i] * wide[i];
    }
    const double divisor = sqrt(sum_of(squares, WIDE)) + of->least_size;
    for (int i = 0; i < WIDE; i++)
        wide[i] = wide[i] / divisor;
    return sharpness;
}

/* The logarithm of the mean of EDGE energies. */
static inline double log_edge(const detector *of, const float *energy)
{
    float sum = 0;
    for (int i = 0; i < EDGE; i++)
        sum += energy[i];
    const double size = sum / EDGE;
    return log(size < of->least_size ? of->least_size : size);
}

/* Describe the candidate that sample i makes certain. Both arrays reach back from there: `signal` from sample i - KEPT
on, `energy` from i - 2 REACH on; `next` is the index of the sample behind the first KEPT ones. */
static inline void describe_candidate(const detector *of, const float *signal, const float *energy, int64_t known,
                                      candidate *one)
{
    double stretch[STRETCH];
    for (int i = 0; i < STRETCH; i++)
        stretch[i] = signal[KEPT - REACH - BEFORE + i];
    one->known = known;
    one->sample = known - REACH - BEFORE + locate_r_peak(of, stretch);
    const double sharpness = describe_shape(of, stretch, one->wide);
    one->size = log((double)energy[REACH] < of->least_size ? of->least_size : (double)energy[REACH]);
    one->sharpness = log(sharpness < of->least_size ? of->least_size : sharpness);
    one->before = log_edge(of, energy);
    one->after = log_edge(of, energy + 2 * REACH + 1 - EDGE);
}

FOR_EACH_PROCESSOR
int find_candidates(const detector *of, bed *at, const float *x, int n, candidate *found)
{
    const float least = (float)of->least_energy;
    float signal[KEPT + PIECE], energy[2 * REACH + PIECE];
    int count = 0;
    if (at->fresh) /* its first sample takes the place of its past, so that the filters see no step */
        for (int i = 0; i < KEPT; i++)
            at->signal[i] = x[0];
    at->fresh = 0;
    memcpy(signal, at->signal, sizeof at->signal);
    memcpy(signal + KEPT, x, sizeof(float) * n);
    memcpy(energy, at->energy, sizeof at->energy);
    measure_energy(of, signal + KEPT + 1 - TAPS, n, energy + 2 * REACH);
    memcpy(at->signal, signal + n, sizeof at->signal);
    memcpy(at->energy, energy + n, sizeof at->energy);
    for (int i = 0; i < n; i++)
        if (is_local_maximum(energy + i, least))
            describe_candidate(of, signal + i, energy + i, at->next + i, found + count++);
    return count;
}
