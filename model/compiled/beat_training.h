/* What the parts of the training of the report's net share: its sizes, rows of channels, and their marks. */

#include <stdint.h>
#include <string.h>

#include "processors.h"

#define SAMPLES 187
#define CHANNELS 32
#define TAPS 5
#define PAD 2
#define BLOCKS 5
#define DENSE 32
#define CLASSES 5

#define FEATURES 64 /* what the dense layers take: channels of the samples that are left */

#define GROUP 8        /* beats that pass a layer together: its weights are read once, and their values fit the cache */
#define GROUP_ROWS (PAD + GROUP * (SAMPLES + PAD))
#define CHUNK_ROWS 200 /* rows whose products with gradients are summed together: they fit the nearest cache */

#define LANES 16
#define VECTORS 2 /* of LANES channels in a row */

#define INLINE static inline __attribute__((always_inline))

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t whole __attribute__((vector_size(4 * LANES), aligned(4)));
typedef float row[CHANNELS] __attribute__((aligned(4 * LANES)));
typedef float kernel[CHANNELS][TAPS][CHANNELS] __attribute__((aligned(4 * LANES)));

#define load(x) (*(const lanes *)(x))
#define store(x, value) (*(lanes *)(x) = (value))
#define keep(value, where) ((lanes)((whole)(value) & (where)))

/* Which channels of a row are not zero: a bit for each. */
INLINE uint32_t mark_row(const float *x)
{
    static const whole bits = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
    union {
        whole all;
        uint64_t pairs[LANES / 2];
    } found = {((load(x) != 0) & bits) | ((load(x + LANES) != 0) & (bits << LANES))};
    for (int half = LANES / 4; half; half /= 2)
        for (int i = 0; i < half; i++)
            found.pairs[i] |= found.pairs[i + half];
    return (uint32_t)(found.pairs[0] | found.pairs[0] >> 32);
}

/* For each channel the rows in which it is not zero. */
typedef struct {
    int counts[CHANNELS];
    uint16_t rows[CHANNELS][CHUNK_ROWS];
} row_lists;

/* A convolution over the rows of a beat; y and x may not overlap. */
typedef struct {
    const row *x;
    const uint32_t *marks; /* of x and the PAD rows behind it */
    int length;
    const float (*weights)[TAPS][CHANNELS]; /* (inputs, TAPS, outputs): to the rows from two before to two behind */
    const float *bias;                      /* is added; NULL: none */
    const row *other;                       /* so are its rows; NULL: none */
    const row *gate;                        /* zero where it is not positive; NULL: everywhere */
    int relu;
    row *y;
    row_lists *lists; /* takes the rows by channel, the first one as `first`; NULL: none */
    int first;
} convolution;

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
weights of the first one tap by tap, then its bias. `parts` has those of both by tap of the second and tap of the first,
then what the first's bias adds; `joined` has the sums of parts that meet the same sample, then the whole bias. Rows at
both ends see rows outside the beat, which are zeros without a bias, so there only some parts count. */
typedef struct {
    float first[TAPS + 1][CHANNELS], parts[TAPS][TAPS + 1][CHANNELS], joined[2 * TAPS][CHANNELS];
} first_layers;

void convolve_rows(const convolution *of);
void correlate_rows(const row *g, const row *x, row_lists *lists, float (*gradient)[TAPS][CHANNELS]);
void join_layers(const parameters *weights, first_layers *to);
void run_first_layers(const first_layers *of, const parameters *weights, const float *beat, row *x, row *h);
void add_first_gradients(const float *beat, const row *dx, const row *dh, first_layers *to);
void split_gradients(const first_layers *of, const parameters *weights, const first_layers *gradients, parameters *to);
