/* Scores and gradients of the report's net on a CPU, in float32: `model/nets/beat_net.py` says what the net computes.

Activations stand time first: a row is the channels of a sample. Beats of a group follow each other in rows, each with
PAD rows of zeros behind it. Half of the values after a ReLU and three quarters of the gradients behind a max-pooling are
zeros: a row's marks, a bit a channel, say which are not, and only these are multiplied.
*/

#include <math.h>

#include "beat_training.h"

static const int lengths[BLOCKS + 1] = {SAMPLES, 92, 44, 20, 8, 2};

typedef struct {
    row x[GROUP_ROWS], h[GROUP_ROWS]; /* what comes in, and what is between the convolutions */
    uint32_t x_marks[GROUP_ROWS], h_marks[GROUP_ROWS];
    int32_t winner[GROUP_ROWS][CHANNELS]; /* for each value of x the sample that it was pooled from; -1: none */
    kernel kernel1, kernel2;              /* as the way forward reads them */
} block_work;

typedef struct {
    float features[FEATURES], hidden1[DENSE], hidden2[DENSE], scores[LANES];
} dense_values;

/* What a thread works with. */
typedef struct {
    block_work blocks[BLOCKS + 1]; /* x of the last one goes to the dense layers */
    first_layers first, first_gradients;
    float dense1[FEATURES][DENSE], dense2[DENSE][DENSE], output[DENSE][LANES], output_bias[LANES];
    float beat[SAMPLES + 2 * PAD];
    row y[SAMPLES], g[CHUNK_ROWS], dh[CHUNK_ROWS], d[2][GROUP_ROWS];
    uint32_t marks[CHUNK_ROWS];
    row_lists lists;
} thread_work;

INLINE int first_row(int beat, int length) { return PAD + beat * (length + PAD); }

INLINE void mark_rows(const row *x, int length, uint32_t *marks)
{
    for (int at = 0; at < length; at++)
        marks[at] = mark_row(x[at]);
    memset(marks + length, 0, sizeof(*marks) * PAD);
}

INLINE void add_rows(const row *x, int length, float *sum)
{
    lanes low = load(sum), high = load(sum + LANES);
    for (int at = 0; at < length; at++) {
        low += load(x[at]);
        high += load(x[at] + LANES);
    }
    store(sum, low);
    store(sum + LANES, high);
}

/* ReLU, then the largest of TAPS rows, every other row; -1 as the winner where that is nothing. */
INLINE void pool(const row *y, int left, row *x, int32_t (*winner)[CHANNELS])
{
    for (int at = 0; at < left; at++)
        for (int c = 0; c < CHANNELS; c += LANES) {
            lanes most = {0};
            whole best = ~(whole){0};
            for (int tap = 0; tap < TAPS; tap++) {
                const lanes value = load(y[2 * at + tap] + c);
                const whole more = value > most;
                most = (lanes)(((whole)value & more) | ((whole)most & ~more));
                best = (tap & more) | (best & ~more);
            }
            store(x[at] + c, most);
            *(whole *)(winner[at] + c) = best;
        }
}

/* Give the gradients d of the pooled to the rows that won. */
INLINE void unpool(const row *d, const int32_t (*winner)[CHANNELS], int left, int length, row *g)
{
    memset(g, 0, sizeof(row) * length);
    for (int at = 0; at < left; at++)
        for (int c = 0; c < CHANNELS; c += LANES) {
            const lanes value = load(d[at] + c);
            const whole best = *(const whole *)(winner[at] + c);
            for (int tap = 0; tap < TAPS; tap++) {
                float *to = g[2 * at + tap] + c;
                store(to, load(to) + keep(value, best == tap));
            }
        }
}

/* y (outputs) = bias + x (inputs) * weights (inputs, outputs) */
INLINE void run_dense(const float *x, int inputs, const float *weights, const float *bias, int outputs, float *y)
{
    for (int output = 0; output < outputs; output += LANES) {
        lanes sum = load(bias + output);
        for (int input = 0; input < inputs; input++)
            sum += x[input] * load(weights + input * outputs + output);
        store(y + output, sum);
    }
}

/* Add to the gradients of weights (outputs, inputs) and bias; dx (inputs) from d (outputs). */
INLINE void return_dense(const float *d, int outputs, const float *x, int inputs, const float *weights, float *gradients,
                         float *bias, float *dx)
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
    join_layers(weights, &work->first);
    memset(&work->first_gradients, 0, sizeof(first_layers));
    memset(work->beat, 0, sizeof(work->beat));
    memset(&work->lists, 0, sizeof(work->lists));
    for (int block = 0; block < BLOCKS; block++) {
        block_work *of = &work->blocks[block];
        memset(of->x, 0, sizeof(row) * PAD);
        memset(of->h, 0, sizeof(row) * PAD);
        if (block)
            turn_kernel(weights->blocks[block].kernel1, of->kernel1);
        turn_kernel(weights->blocks[block].kernel2, of->kernel2);
    }
    turn_dense(weights->dense1[0], DENSE, FEATURES, work->dense1[0], DENSE);
    turn_dense(weights->dense2[0], DENSE, DENSE, work->dense2[0], DENSE);
    memset(work->output, 0, sizeof(work->output));
    turn_dense(weights->output[0], CLASSES, DENSE, work->output[0], LANES);
    memset(work->output_bias, 0, sizeof(work->output_bias));
    memcpy(work->output_bias, weights->output_bias, sizeof(weights->output_bias));
}

/* Take a beat (SAMPLES) with zeros at both ends. */
INLINE const float *take_beat(thread_work *work, const float *beat)
{
    memcpy(work->beat + PAD, beat, sizeof(float) * SAMPLES);
    return work->beat + PAD;
}

/* Run a group of beats (n, SAMPLES) through the convolutions. */
INLINE void run_blocks(const parameters *weights, thread_work *work, const float *beats, int n)
{
    for (int block = 0; block < BLOCKS; block++) {
        block_work *of = &work->blocks[block], *next = of + 1;
        const int length = lengths[block], left = lengths[block + 1];
        for (int beat = 0; beat < n; beat++) {
            const int at = first_row(beat, length), to = first_row(beat, left);
            if (block) {
                convolve_rows(&(convolution){.x = of->x + at, .marks = of->x_marks + at, .length = length,
                                             .weights = of->kernel1, .bias = weights->blocks[block].bias1, .relu = 1,
                                             .y = of->h + at});
            } else
                run_first_layers(&work->first, weights, take_beat(work, beats + beat * SAMPLES), of->x + at, of->h + at);
            memset(of->h + at + length, 0, sizeof(row) * PAD);
            mark_rows(of->h + at, length, of->h_marks + at);
            convolve_rows(&(convolution){.x = of->h + at, .marks = of->h_marks + at, .length = length,
                                         .weights = of->kernel2, .bias = weights->blocks[block].bias2,
                                         .other = of->x + at, .y = work->y});
            pool(work->y, left, next->x + to, next->winner + to);
            memset(next->x + to + left, 0, sizeof(row) * PAD);
            mark_rows(next->x + to, left, next->x_marks + to);
        }
    }
}

/* Run what is left of a beat of the group through the dense layers. */
INLINE void run_dense_layers(const parameters *weights, const thread_work *work, int beat, dense_values *of)
{
    const int left = lengths[BLOCKS];
    const row *x = work->blocks[BLOCKS].x + first_row(beat, left);
    for (int at = 0; at < left; at++)
        for (int c = 0; c < CHANNELS; c++)
            of->features[c * left + at] = x[at][c];
    run_dense(of->features, FEATURES, work->dense1[0], weights->bias1, DENSE, of->hidden1);
    relu(of->hidden1, DENSE);
    run_dense(of->hidden1, DENSE, work->dense2[0], weights->bias2, DENSE, of->hidden2);
    relu(of->hidden2, DENSE);
    run_dense(of->hidden2, DENSE, work->output[0], work->output_bias, LANES, of->scores);
}

/* Return the cross-entropy of a beat; d (CLASSES) are the gradients of its scores. */
INLINE double cross_entropy(const float *scores, const float *offset, int label, float *d)
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

INLINE int largest(const float *scores)
{
    int best = 0;
    for (int i = 1; i < CLASSES; i++)
        best = scores[i] > scores[best] ? i : best;
    return best;
}

/* Add a beat's gradients of the dense layers; dx (samples left) are those of what they took. */
INLINE void return_dense_layers(const parameters *weights, const dense_values *of, const float *d, parameters *to,
                                row *dx)
{
    float features[FEATURES], hidden1[DENSE], hidden2[DENSE];
    return_dense(d, CLASSES, of->hidden2, DENSE, weights->output[0], to->output[0], to->output_bias, hidden2);
    gate(hidden2, of->hidden2, DENSE);
    return_dense(hidden2, DENSE, of->hidden1, DENSE, weights->dense2[0], to->dense2[0], to->bias2, hidden1);
    gate(hidden1, of->hidden1, DENSE);
    return_dense(hidden1, DENSE, of->features, FEATURES, weights->dense1[0], to->dense1[0], to->bias1, features);
    for (int at = 0; at < lengths[BLOCKS]; at++)
        for (int c = 0; c < CHANNELS; c++)
            dx[at][c] = features[c * lengths[BLOCKS] + at];
}

/* Add the gradients of a block from those of what comes out of it, for a group of n beats. */
INLINE void return_block(const parameters *weights, thread_work *work, int block, const float *beats, int n,
                         parameters *to)
{
    block_work *of = &work->blocks[block], *next = of + 1;
    const int length = lengths[block], left = lengths[block + 1], stride = length + PAD;
    const int most = CHUNK_ROWS / stride;
    const row *d = work->d[(block + 1) % 2];
    for (int start = 0; start < n; start += most) {
        const int count = n - start < most ? n - start : most;
        const int chunk = first_row(start, length);
        const row *x = of->x + chunk, *h = of->h + chunk;
        for (int beat = 0; beat < count; beat++) {
            const int at = beat * stride, from = first_row(start + beat, left);
            unpool(d + from, next->winner + from, left, length, work->g + at);
            add_rows(work->g + at, length, to->blocks[block].bias2);
            mark_rows(work->g + at, length, work->marks);
            convolve_rows(&(convolution){.x = work->g + at, .marks = work->marks, .length = length,
                                         .weights = weights->blocks[block].kernel2, .gate = h + at, .y = work->dh + at,
                                         .lists = &work->lists, .first = at});
        }
        correlate_rows(work->g, h, &work->lists, to->blocks[block].kernel2);
        for (int beat = 0; beat < count; beat++) {
            const int at = beat * stride;
            add_rows(work->dh + at, length, to->blocks[block].bias1);
            if (!block) {
                add_first_gradients(take_beat(work, beats + (start + beat) * SAMPLES), work->g + at, work->dh + at,
                                    &work->first_gradients);
                continue;
            }
            mark_rows(work->dh + at, length, work->marks);
            convolve_rows(&(convolution){.x = work->dh + at, .marks = work->marks, .length = length,
                                         .weights = weights->blocks[block].kernel1, .other = work->g + at,
                                         .y = work->d[block % 2] + chunk + at, .lists = &work->lists, .first = at});
        }
        if (block)
            correlate_rows(work->dh, x, &work->lists, to->blocks[block].kernel1);
    }
}

size_t training_bytes(void) { return sizeof(thread_work); }

/* Add the gradients of the summed cross-entropy of beats (n, SAMPLES) with labels (n) to `to`, and the sum and the number
of hits to results; `offset` (CLASSES) is added to the scores in the loss. */
FOR_EACH_PROCESSOR
void train_beats(const parameters *weights, const float *offset, const float *beats, const int64_t *labels, int n,
                 thread_work *work, parameters *to, double *results)
{
    take_weights(weights, work);
    for (int start = 0; start < n; start += GROUP, beats += GROUP * SAMPLES) {
        const int count = n - start < GROUP ? n - start : GROUP;
        run_blocks(weights, work, beats, count);
        for (int beat = 0; beat < count; beat++) {
            const int label = (int)labels[start + beat];
            dense_values of;
            float d[CLASSES];
            run_dense_layers(weights, work, beat, &of);
            results[0] += cross_entropy(of.scores, offset, label, d);
            results[1] += largest(of.scores) == label;
            return_dense_layers(weights, &of, d, to, work->d[BLOCKS % 2] + first_row(beat, lengths[BLOCKS]));
        }
        for (int block = BLOCKS - 1; block >= 0; block--)
            return_block(weights, work, block, beats, count, to);
    }
    split_gradients(&work->first, weights, &work->first_gradients, to);
}

/* Map beats (n, SAMPLES) to scores (n, CLASSES). */
FOR_EACH_PROCESSOR
void score_beats(const parameters *weights, const float *beats, int n, thread_work *work, float *scores)
{
    take_weights(weights, work);
    for (int start = 0; start < n; start += GROUP, beats += GROUP * SAMPLES) {
        const int count = n - start < GROUP ? n - start : GROUP;
        run_blocks(weights, work, beats, count);
        for (int beat = 0; beat < count; beat++, scores += CLASSES) {
            dense_values of;
            run_dense_layers(weights, work, beat, &of);
            memcpy(scores, of.scores, sizeof(float) * CLASSES);
        }
    }
}
