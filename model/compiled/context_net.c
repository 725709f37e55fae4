/* The context net of the live monitor on a CPU, in float32: `model/nets/context_net.py` says what it computes.

Activations stand time first, (samples, channels), with two samples of zeros on both sides; weights (kernel, inputs,
outputs), the outputs filled up with zeros to a multiple of LANES. Each value is one sum in a fixed order: bias, then
kernel by kernel and input by input. So the result for a beat depends neither on its batch nor on how wide the
processor's registers are; where it has no fused multiply-add the last digits differ.
*/

#include <math.h>
#include <string.h>

#include "processors.h"

#define LANES 8
#define PAD 2
#define KERNEL 5
#define POOL 5
#define MOST_BLOCKS 8

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4)));

#define INLINE static inline __attribute__((always_inline))

/* Add to `samples` x `vectors` sums of a convolution of `kernel` taps and `step` samples from tap to tap row. */
INLINE void add_products(lanes (*sums)[3], const float *x, int inputs, int stride, const float *weight, int kernel,
                         int width, const int samples, const int vectors)
{
    for (int tap = 0; tap < kernel; tap++) {
        const float *row = x + tap * inputs;
        for (int input = 0; input < inputs; input++, weight += width)
            for (int sample = 0; sample < samples; sample++) {
                const float value = row[sample * stride * inputs + input];
                for (int vector = 0; vector < vectors; vector++)
                    sums[sample][vector] += value * *(const lanes *)(weight + vector * LANES);
            }
    }
}

typedef struct {
    const float *x, *weight, *bias; /* input at the first tap; bias NULL: none */
    const float *other, *skip;      /* what is added: the same places of `other` (skip NULL), or its products */
    float *y;
    int inputs, kernel, stride, outputs, others;
} layer;

/* Compute `samples` x `vectors` values of a layer with ReLU, from sample `first` and output `output` on. */
INLINE void compute_tile(const layer *of, int first, int output, const int samples, const int vectors)
{
    lanes sums[6][3];
    for (int sample = 0; sample < samples; sample++)
        for (int vector = 0; vector < vectors; vector++)
            sums[sample][vector] = *(const lanes *)(of->bias + output + vector * LANES);
    add_products(sums, of->x + first * of->stride * of->inputs, of->inputs, of->stride, of->weight + output, of->kernel,
                 of->outputs, samples, vectors);
    if (of->skip)
        add_products(sums, of->other + first * of->others, of->others, 1, of->skip + output, 1, of->outputs, samples,
                     vectors);
    for (int sample = 0; sample < samples; sample++)
        for (int vector = 0; vector < vectors; vector++) {
            const int at = (first + sample) * of->outputs + output + vector * LANES;
            lanes sum = sums[sample][vector];
            if (of->other && !of->skip)
                sum += *(const lanes *)(of->other + at);
            for (int lane = 0; lane < LANES; lane++)
                sum[lane] = sum[lane] > 0 ? sum[lane] : 0;
            *(lanes *)(of->y + at) = sum;
        }
}

/* Compute all outputs of a layer for `samples` samples. A function of its own: compiled once for each processor. */
FOR_EACH_PROCESSOR
void compute_layer(const layer *of, int samples)
{
    int output = 0;
    while (output < of->outputs) {
        const int left = (of->outputs - output) / LANES;
        int first = 0;
        if (left == 3 || left > 4) {
            for (; first + 4 <= samples; first += 4)
                compute_tile(of, first, output, 4, 3);
            for (; first < samples; first++)
                compute_tile(of, first, output, 1, 3);
            output += 3 * LANES;
        } else if (left >= 2) {
            for (; first + 6 <= samples; first += 6)
                compute_tile(of, first, output, 6, 2);
            for (; first + 3 <= samples; first += 3)
                compute_tile(of, first, output, 3, 2);
            for (; first < samples; first++)
                compute_tile(of, first, output, 1, 2);
            output += 2 * LANES;
        } else {
            for (; first + 4 <= samples; first += 4)
                compute_tile(of, first, output, 4, 1);
            for (; first < samples; first++)
                compute_tile(of, first, output, 1, 1);
            output += LANES;
        }
    }
}

/* Take the largest of POOL samples, every other sample; return how many there are. */
INLINE int pool(const float *x, int samples, int channels, float *y)
{
    const int left = (samples - POOL) / 2 + 1;
    for (int sample = 0; sample < left; sample++)
        for (int channel = 0; channel < channels; channel++) {
            const float *at = x + 2 * sample * channels + channel;
            float most = at[0];
            for (int i = 1; i < POOL; i++)
                most = at[i * channels] > most ? at[i * channels] : most;
            y[sample * channels + channel] = most;
        }
    return left;
}

/* Map x (inputs) to y (outputs, a multiple of LANES) with weight (inputs, outputs). */
INLINE void dense(const float *x, int inputs, const float *weight, const float *bias, int outputs, int relu, float *y)
{
    for (int output = 0; output < outputs; output += LANES)
        *(lanes *)(y + output) = *(const lanes *)(bias + output);
    for (int output = 0; output < outputs; output += 8 * LANES) {
        const int vectors = (outputs - output) / LANES < 8 ? (outputs - output) / LANES : 8;
        lanes sums[8];
        for (int vector = 0; vector < vectors; vector++)
            sums[vector] = *(const lanes *)(y + output + vector * LANES);
        for (int input = 0; input < inputs; input++)
            for (int vector = 0; vector < vectors; vector++)
                sums[vector] += x[input] * *(const lanes *)(weight + input * outputs + output + vector * LANES);
        for (int vector = 0; vector < vectors; vector++)
            *(lanes *)(y + output + vector * LANES) = sums[vector];
    }
    if (relu)
        for (int output = 0; output < outputs; output++)
            y[output] = y[output] > 0 ? y[output] : 0;
}

/* Subtract the logarithm of the sum of exponentials from scores (n). */
static void log_softmax(double *scores, int n)
{
    double most = scores[0], sum = 0;
    for (int i = 1; i < n; i++)
        most = scores[i] > most ? scores[i] : most;
    for (int i = 0; i < n; i++)
        sum += exp(scores[i] - most);
    sum = most + log(sum);
    for (int i = 0; i < n; i++)
        scores[i] -= sum;
}

static double log_add_exp(double a, double b)
{
    return (a > b ? a : b) + log1p(exp(-fabs(a - b)));
}

/* Combine log-probabilities (classes) of both heads, as `combine_heads` does; `first` becomes what both say. */
static void combine_heads(double *first, const double *second, int classes)
{
    double pair[2];
    const double usual = log_add_exp(first[0], first[1]);
    const double odds = usual - log_add_exp(second[0], second[1]);
    const double early = (first[1] - first[0] + second[1] - second[0]) / 2;
    first[2] = (first[2] + second[2] + odds) / 2;
    pair[0] = -early / 2, pair[1] = early / 2;
    log_softmax(pair, 2);
    first[0] = usual + pair[0], first[1] = usual + pair[1];
    log_softmax(first, classes);
}

/* What `CompiledContextNet` fills in; widths are multiples of LANES. */
typedef struct {
    int samples, waves, features, stem_kernel, blocks, numbers, dense, classes;
    int channels[MOST_BLOCKS + 1]; /* of the stem, then of each block */
    const float *stem, *stem_bias, *mean, *spread;
    const float *conv1[MOST_BLOCKS], *bias1[MOST_BLOCKS], *conv2[MOST_BLOCKS], *bias2[MOST_BLOCKS], *skip[MOST_BLOCKS];
    const float *dense_weight[7], *dense_bias[7]; /* numbers, dense1, dense2, output, alone1, alone2, alone */
    int floats;                                   /* in each of the three buffers of activations */
    double surely_normal; /* log-probability of N from which on the numbers decide alone */
} context_net;

/* Let the first head hear a beat: its waves (waves, samples) and its standardised `numbers`; scores (8) to `said`. */
INLINE void hear_wave(const context_net *net, const float *waves, const float *numbers, float *work, float *said)
{
    float *in = work, *middle = work + net->floats, *out = work + 2 * net->floats;
    const int stem_pad = net->stem_kernel / 2;
    /* The waves, time first. */
    memset(in, 0, sizeof(float) * (net->samples + 2 * stem_pad) * net->waves);
    for (int wave = 0; wave < net->waves; wave++)
        for (int sample = 0; sample < net->samples; sample++)
            in[(sample + stem_pad) * net->waves + wave] = waves[wave * net->samples + sample];
    int samples = (net->samples - 1) / 2 + 1, width = net->channels[0];
    memset(out, 0, sizeof(float) * PAD * width);
    layer stem = {in, net->stem, net->stem_bias, NULL, NULL, out + PAD * width, net->waves, net->stem_kernel, 2, width,
                  0};
    compute_layer(&stem, samples);
    memset(out + (PAD + samples) * width, 0, sizeof(float) * PAD * width);
    for (int block = 0; block < net->blocks; block++) {
        const int outputs = net->channels[block + 1];
        float *x = out, *y = in;
        memset(middle, 0, sizeof(float) * PAD * outputs);
        layer conv1 = {x, net->conv1[block], net->bias1[block], NULL, NULL, middle + PAD * outputs, width, KERNEL, 1,
                       outputs, 0};
        compute_layer(&conv1, samples);
        memset(middle + (PAD + samples) * outputs, 0, sizeof(float) * PAD * outputs);
        layer conv2 = {middle, net->conv2[block], net->bias2[block], x + PAD * width, net->skip[block], y, outputs,
                       KERNEL, 1, outputs, width};
        compute_layer(&conv2, samples);
        memset(out, 0, sizeof(float) * PAD * outputs);
        samples = pool(y, samples, outputs, out + PAD * outputs);
        memset(out + (PAD + samples) * outputs, 0, sizeof(float) * PAD * outputs);
        width = outputs;
    }
    /* The numbers join the wave. */
    float *joined = in, *first = middle, *second = middle + net->dense;
    memcpy(joined, out + PAD * width, sizeof(float) * samples * width);
    dense(numbers, net->features, net->dense_weight[0], net->dense_bias[0], net->numbers, 1, joined + samples * width);
    dense(joined, samples * width + net->numbers, net->dense_weight[1], net->dense_bias[1], net->dense, 1, first);
    dense(first, net->dense, net->dense_weight[2], net->dense_bias[2], net->dense, 1, second);
    dense(second, net->dense, net->dense_weight[3], net->dense_bias[3], 8, 0, said);
}

/* Classify beats (n, waves * samples + features) to log-probabilities (n, classes).

`work`: 3 * net->floats for the wave, then features + 2 * dense for the numbers. */
FOR_EACH_PROCESSOR
void classify_beats(const context_net *net, const float *beats, int n, float *work, float *said)
{
    const int waves = net->waves * net->samples;
    float *numbers = work + 3 * net->floats, *first = numbers + net->features, *second = first + net->dense;
    for (int beat = 0; beat < n; beat++, beats += waves + net->features, said += net->classes) {
        float scores[8];
        double by_numbers[8], by_wave[8];
        for (int i = 0; i < net->features; i++)
            numbers[i] = (beats[waves + i] - net->mean[i]) / net->spread[i];
        dense(numbers, net->features, net->dense_weight[4], net->dense_bias[4], net->dense, 1, first);
        dense(first, net->dense, net->dense_weight[5], net->dense_bias[5], net->dense, 1, second);
        dense(second, net->dense, net->dense_weight[6], net->dense_bias[6], 8, 0, scores);
        for (int i = 0; i < net->classes; i++)
            by_numbers[i] = scores[i];
        log_softmax(by_numbers, net->classes);
        const double *outcome = by_numbers;
        if (by_numbers[0] < net->surely_normal) {
            hear_wave(net, beats, numbers, work, scores);
            for (int i = 0; i < net->classes; i++)
                by_wave[i] = scores[i];
            log_softmax(by_wave, net->classes);
            combine_heads(by_wave, by_numbers, net->classes);
            outcome = by_wave;
        }
        for (int i = 0; i < net->classes; i++)
            said[i] = (float)outcome[i];
    }
}
