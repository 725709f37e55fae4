/* Scores and gradients of the report's net on a CPU, in float32: `model/nets/beat_net.py` says what the net computes.

Activations stand time first: a row is the channels of a sample. A beat passes all layers, there and back, before the
next one, so what it leaves fits the cache of a core. A third of the values after a ReLU and three quarters of the
gradients behind a max-pooling are zeros: a row's marks, a bit a channel, say which are not, and only these count.
*/

#include <math.h>

#include "beat_training.h"

#define WIDE 16 /* CLASSES, filled up for the processor */

static const int lengths[BLOCKS + 1] = {SAMPLES, 92, 44, 20, 8, 2};

#define PADDED (PAD + SAMPLES + PAD)

/* What a beat leaves in a block, and its kernels. */
typedef struct {
    row x[PADDED], h[PADDED]; /* what comes in, and what is between the convolutions; zeros at both ends */
    uint32_t x_marks[SAMPLES + PAD], h_marks[SAMPLES + PAD];
    int32_t winner[SAMPLES][CHANNELS]; /* for each value of x the tap that it was pooled from; -1: none */
    kernel kernel1, kernel2;           /* as the way forward reads them */
} block_work;

/* What a thread works with. */
typedef struct {
    block_work blocks[BLOCKS + 1]; /* x of the last one goes to the dense layers */
    float features[FEATURES], hidden1[DENSE], hidden2[DENSE], scores[WIDE];
    float beat[PADDED];
    first_layers first, first_gradients;
    float dense1[FEATURES][DENSE], dense2[DENSE][DENSE], output[DENSE][WIDE], output_bias[WIDE];
    row y[SAMPLES], g[SAMPLES], dh[SAMPLES], dx[SAMPLES];
    uint32_t marks[SAMPLES + PAD];
    row_lists lists;
} thread_work;

/* Note which values of the rows are not zero, a bit for each channel. */
INLINE void mark_rows(const row *x, int length, uint32_t *marks)
{
    for (int at = 0; at < length; at++) {
        uint32_t found = 0;
        for (int c = 0; c < CHANNELS; c++)
            found |= (uint32_t)(x[at][c] != 0) << c;
        marks[at] = found;
    }
    memset(marks + length, 0, sizeof(*marks) * PAD);
}

INLINE void add_bias(row *restrict x, int length, const float *restrict bias)
{
    for (int at = 0; at < length; at++)
        for (int c = 0; c < CHANNELS; c++)
            x[at][c] += bias[c];
}

INLINE void add_rows(row *restrict x, int length, const row *restrict other)
{
    for (int at = 0; at < length; at++)
        for (int c = 0; c < CHANNELS; c++)
            x[at][c] += other[at][c];
}

INLINE void sum_rows(const row *restrict x, int length, float *restrict sum)
{
    for (int at = 0; at < length; at++)
        for (int c = 0; c < CHANNELS; c++)
            sum[c] += x[at][c];
}

/* ReLU, then the largest of TAPS rows, every other row; -1 as the winner where that is nothing. */
INLINE void pool(const row *restrict y, int left, row *restrict x, int32_t (*restrict winner)[CHANNELS])
{
    memset(x, 0, sizeof(row) * left);
    memset(winner, -1, sizeof(*winner) * left);
    for (int at = 0; at < left; at++)
        for (int tap = 0; tap < TAPS; tap++)
            for (int c = 0; c < CHANNELS; c++) {
                const float value = y[2 * at + tap][c], most = x[at][c];
                winner[at][c] = value > most ? tap : winner[at][c];
                x[at][c] = value > most ? value : most;
            }
}

/* Give the gradients d of the pooled to the rows that won. */
INLINE void unpool(const row *restrict d, const int32_t (*restrict winner)[CHANNELS], int left, int length,
                   row *restrict g)
{
    memset(g, 0, sizeof(row) * length);
    for (int at = 0; at < left; at++)
        for (int tap = 0; tap < TAPS; tap++)
            for (int c = 0; c < CHANNELS; c++)
                g[2 * at + tap][c] += winner[at][c] == tap ? d[at][c] : 0;
}

/* y (outputs) = bias + x (inputs) * weights (inputs, outputs) */
INLINE void run_dense(const float *x, int inputs, const float *weights, const float *bias, int outputs, float *y)
{
    memcpy(y, bias, sizeof(float) * outputs);
    for (int input = 0; input < inputs; input++)
        for (int output = 0; output < outputs; output++)
            y[output] += x[input] * weights[input * outputs + output];
}

/* Add to the gradients of weights (outputs, inputs) and bias; dx (inputs) from d (outputs). */
INLINE void return_dense(const float *d, int outputs, const float *x, int inputs, const float *weights,
                         float *gradients, float *bias, float *dx)
{
    memset(dx, 0, sizeof(float) * inputs);
    for (int output = 0; output < outputs; output++) {
        bias[output] += d[output];
        for (int input = 0; input < inputs; input++) {
            gradients[output * inputs + input] += d[output] * x[input];
            dx[input] += d[output] * weights[output * inputs + input];
        }
    }
}

INLINE void relu(float *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = x[i] > 0 ? x[i] : 0;
}

INLINE void gate(float *d, const float *x, int n)
{
    for (int i = 0; i < n; i++)
        d[i] = x[i] > 0 ? d[i] : 0;
}

static void turn_kernel(const kernel from, kernel to)
{
    for (int output = 0; output < CHANNELS; output++)
        for (int tap = 0; tap < TAPS; tap++)
            for (int input = 0; input < CHANNELS; input++)
                to[input][TAPS - 1 - tap][output] = from[output][tap][input];
}

static void turn_dense(const float *from, int outputs, int inputs, float *to, int width)
{
    for (int output = 0; output < outputs; output++)
        for (int input = 0; input < inputs; input++)
            to[input * width + output] = from[output * inputs + input];
}

/* Begin with other weights. */
static void take_weights(const parameters *weights, thread_work *work)
{
    memset(work, 0, sizeof(*work));
    join_layers(weights, &work->first);
    for (int block = 0; block < BLOCKS; block++) {
        turn_kernel(weights->blocks[block].kernel1, work->blocks[block].kernel1);
        turn_kernel(weights->blocks[block].kernel2, work->blocks[block].kernel2);
    }
    turn_dense(weights->dense1[0], DENSE, FEATURES, work->dense1[0], DENSE);
    turn_dense(weights->dense2[0], DENSE, DENSE, work->dense2[0], DENSE);
    turn_dense(weights->output[0], CLASSES, DENSE, work->output[0], WIDE);
    memcpy(work->output_bias, weights->output_bias, sizeof(weights->output_bias));
}

/* Run a beat (SAMPLES) through the net; its scores and all that the way back needs stay in `work`. */
FOR_EACH_PROCESSOR
static void run_net(const parameters *weights, thread_work *work, const float *beat)
{
    memcpy(work->beat + PAD, beat, sizeof(float) * SAMPLES);
    for (int block = 0; block < BLOCKS; block++) {
        block_work *of = &work->blocks[block], *next = of + 1;
        const int length = lengths[block], left = lengths[block + 1];
        row *x = of->x + PAD, *h = of->h + PAD;
        if (block == 0)
            run_first_layers(&work->first, work->beat + PAD, x, h);
        else
            convolve_rows(x, of->x_marks, length, of->kernel1, h, NULL);
        add_bias(h, length, weights->blocks[block].bias1);
        relu(h[0], length * CHANNELS);
        mark_rows(h, length, of->h_marks);
        convolve_rows(h, of->h_marks, length, of->kernel2, work->y, NULL);
        add_bias(work->y, length, weights->blocks[block].bias2);
        add_rows(work->y, length, x);
        pool(work->y, left, next->x + PAD, next->winner);
        mark_rows(next->x + PAD, left, next->x_marks);
    }
    for (int at = 0; at < lengths[BLOCKS]; at++)
        for (int c = 0; c < CHANNELS; c++)
            work->features[c * lengths[BLOCKS] + at] = work->blocks[BLOCKS].x[PAD + at][c];
    run_dense(work->features, FEATURES, work->dense1[0], weights->bias1, DENSE, work->hidden1);
    relu(work->hidden1, DENSE);
    run_dense(work->hidden1, DENSE, work->dense2[0], weights->bias2, DENSE, work->hidden2);
    relu(work->hidden2, DENSE);
    run_dense(work->hidden2, DENSE, work->output[0], work->output_bias, WIDE, work->scores);
}

/* Return the cross-entropy of a beat; d (CLASSES) are the gradients of its scores. */
static double cross_entropy(const float *scores, const float *offset, int64_t label, float *d)
{
    double said[CLASSES], most = -INFINITY, sum = 0;
    for (int i = 0; i < CLASSES; i++) {
        said[i] = scores[i] + offset[i];
        most = said[i] > most ? said[i] : most;
    }
    for (int i = 0; i < CLASSES; i++)
        sum += exp(said[i] - most);
    for (int i = 0; i < CLASSES; i++)
        d[i] = (float)(exp(said[i] - most) / sum - (i == label));
    return most + log(sum) - said[label];
}

static int find_largest(const float *scores)
{
    int best = 0;
    for (int i = 1; i < CLASSES; i++)
        best = scores[i] > scores[best] ? i : best;
    return best;
}

/* Add a beat's gradients of the dense layers, from those of its scores; dx are then those of what comes in. */
INLINE void return_dense_layers(const parameters *weights, thread_work *work, const float *d, parameters *to)
{
    float features[FEATURES], hidden1[DENSE], hidden2[DENSE];
    return_dense(d, CLASSES, work->hidden2, DENSE, weights->output[0], to->output[0], to->output_bias, hidden2);
    gate(hidden2, work->hidden2, DENSE);
    return_dense(hidden2, DENSE, work->hidden1, DENSE, weights->dense2[0], to->dense2[0], to->bias2, hidden1);
    gate(hidden1, work->hidden1, DENSE);
    return_dense(hidden1, DENSE, work->features, FEATURES, weights->dense1[0], to->dense1[0], to->bias1, features);
    for (int at = 0; at < lengths[BLOCKS]; at++)
        for (int c = 0; c < CHANNELS; c++)
            work->dx[at][c] = features[c * lengths[BLOCKS] + at];
}

/* Add a beat's gradients of a block, from those of what comes out of it, dx; then these are those of what comes in. */
INLINE void return_block(const parameters *weights, thread_work *work, int block, parameters *to)
{
    block_work *of = &work->blocks[block];
    const int length = lengths[block], left = lengths[block + 1];
    const row *x = of->x + PAD, *h = of->h + PAD;
    unpool(work->dx, of[1].winner, left, length, work->g);
    sum_rows(work->g, length, to->blocks[block].bias2);
    mark_rows(work->g, length, work->marks);
    convolve_rows(work->g, work->marks, length, weights->blocks[block].kernel2, work->dh, &work->lists);
    correlate_rows(work->g, h, &work->lists, to->blocks[block].kernel2);
    gate(work->dh[0], h[0], length * CHANNELS);
    sum_rows(work->dh, length, to->blocks[block].bias1);
    if (block == 0) {
        add_first_gradients(work->beat + PAD, work->g, work->dh, &work->first_gradients);
        return;
    }
    mark_rows(work->dh, length, work->marks);
    convolve_rows(work->dh, work->marks, length, weights->blocks[block].kernel1, work->dx, &work->lists);
    correlate_rows(work->dh, x, &work->lists, to->blocks[block].kernel1);
    add_rows(work->dx, length, work->g);
}

size_t training_bytes(void) { return sizeof(thread_work); }

/* Add the gradients of the summed cross-entropy of beats (n, SAMPLES) with labels (n) to `to`, and the sum and the
number of hits to results; `offset` (CLASSES) is added to the scores in the loss. Return n, or the first beat whose
label is none. */
FOR_EACH_PROCESSOR
int train_beats(const parameters *weights, const float *offset, const float *beats, const int64_t *labels, int n,
                thread_work *work, parameters *to, double *results)
{
    take_weights(weights, work);
    for (int beat = 0; beat < n; beat++) {
        const int64_t label = labels[beat];
        float d[CLASSES];
        if (label < 0 || label >= CLASSES)
            return beat;
        run_net(weights, work, beats + beat * SAMPLES);
        results[0] += cross_entropy(work->scores, offset, label, d);
        results[1] += find_largest(work->scores) == label;
        return_dense_layers(weights, work, d, to);
        for (int block = BLOCKS - 1; block >= 0; block--)
            return_block(weights, work, block, to);
    }
    split_gradients(&work->first, weights, &work->first_gradients, to);
    return n;
}

/* Map beats (n, SAMPLES) to scores (n, CLASSES). */
void score_beats(const parameters *weights, const float *beats, int n, thread_work *work, float *scores)
{
    take_weights(weights, work);
    for (int beat = 0; beat < n; beat++) {
        run_net(weights, work, beats + beat * SAMPLES);
        memcpy(scores + beat * CLASSES, work->scores, sizeof(float) * CLASSES);
    }
}
