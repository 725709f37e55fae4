/* What the parts of the training of the report's net share: its sizes, its weights, rows of channels. */

#include <stdint.h>
#include <string.h>

#include "processors.h"

#define SAMPLES 187
#define CHANNELS 32
#define TAPS 5
#define PAD 2
#define BLOCKS 5
#define DENSE 32
#define FEATURES 64 /* channels of the samples that are left */
#define CLASSES 5

#define INLINE static inline __attribute__((always_inline))

typedef float row[CHANNELS] __attribute__((aligned(64)));
typedef float kernel[CHANNELS][TAPS][CHANNELS] __attribute__((aligned(64)));

/* For each channel the rows in which it is not zero. */
typedef struct {
    int counts[CHANNELS];
    uint8_t rows[CHANNELS][SAMPLES]; /* SAMPLES are fewer than 256 */
} row_lists;

/* The weights of the net, or the gradients of them, in the order of its parameters. */
typedef struct {
    float first[CHANNELS][TAPS], first_bias[CHANNELS];
    struct {
        kernel kernel1;
        row bias1;
        kernel kernel2;
        row bias2;
    } blocks[BLOCKS];
    float dense1[DENSE][FEATURES], bias1[DENSE], dense2[DENSE][DENSE], bias2[DENSE];
    float output[CLASSES][DENSE], output_bias[CLASSES];
} parameters;

/* The first convolution and the first one of the first block are one linear map of a beat's samples. `first` has the
weights of the first one tap by tap, then its bias. `parts` has those of both by tap of the second and tap of the
first, then what the first's bias adds; `joined` has the sums of parts that meet the same sample, then that of the
biases. Rows at both ends see rows outside the beat, which are zeros without a bias: there only some parts count. */
typedef struct {
    float first[TAPS + 1][CHANNELS], parts[TAPS][TAPS + 1][CHANNELS], joined[2 * TAPS][CHANNELS];
} first_layers;

/* Set the rows of y to the products of a beat's rows of x with weights (inputs, TAPS, outputs): the first tap's go to
the row PAD rows before, the last one's to that PAD rows behind. Of a row only the channels count whose bits are set in
its marks (length + PAD, the last ones 0); lists, if there are any, take the row for each of them. */
void convolve_rows(const row *x, const uint32_t *marks, int length, const kernel weights, row *y, row_lists *lists);

/* Add to the gradient of a kernel (outputs, TAPS, inputs) the products of its outputs' gradients g with its inputs x,
for the rows in the lists, and empty these. */
void correlate_rows(const row *g, const row *x, row_lists *lists, kernel gradient);

void join_layers(const parameters *weights, first_layers *to);
void run_first_layers(const first_layers *restrict of, const float *restrict beat, row *restrict x, row *restrict h);
void add_first_gradients(const float *restrict beat, const row *restrict dx, const row *restrict dh,
                         first_layers *restrict to);
void split_gradients(const first_layers *of, const parameters *weights, const first_layers *gradients, parameters *to);
