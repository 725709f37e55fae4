/* What the two halves of the QRS detector in C share: `qrs_filter.c` finds candidates, `qrs_detector.c` decides them.

`agent/analysis/qrs_filter.py`, `qrs_evidence.py` and `qrs_detector.py` are the twin in Python and say what is computed;
sizes of arrays stand here and there, all other numbers are handed over by `agent/analysis/compiled_qrs.py`.
*/

#include <stdint.h>

#define TAP_SPAN 4
#define TAPS 23  /* samples that an energy depends on */
#define REACH 18 /* MAXIMUM_REACH */
#define BEFORE 36
#define AFTER 9
#define STRETCH (BEFORE + AFTER + 1)
#define KEPT (BEFORE + REACH + 1)
#define FIRST_R 17
#define LAST_R 32
#define EDGE 5
#define SHARP_REACH 8
#define SHAPE 25
#define LAGS 5
#define WIDE (SHAPE + LAGS - 1)
#define PIECE 256 /* samples that are filtered at once */
#define MOST_FOUND (PIECE / (REACH + 1) + 1)

#define LEVEL_COUNT 12
#define SHAPES 8
#define RECENT 8
#define TERMS 17
#define FIRST_OWN 1
#define OWN_COUNT 7 /* OWN_TERMS */
#define ALIKE 4
#define FOLLOWED 15
#define RIVAL 16

/* `QrsCandidate`; its shape at each lag is a window of `wide`. */
typedef struct {
    int64_t known, sample;
    double size, sharpness, before, after, wide[WIDE];
} candidate;

/* `_Level`: values in the order in which they came, from `oldest` on, and by size. */
typedef struct {
    double values[LEVEL_COUNT], ordered[LEVEL_COUNT], value;
    int32_t count, oldest;
} level;

/* `QrsEvidence`. Shapes stand sample first, (SHAPE, SHAPES): one operation takes a sample of all of them. */
typedef struct {
    level beats, sharpness, floors, likeness;
    double shapes[SHAPE][SHAPES], larger[SHAPE], last_sharpness, regularity;
    int64_t beats_seen, last, previous, shortest, usual, intervals[LEVEL_COUNT];
    int32_t has_last, interval_count, larger_count, twin_count;
} evidence;

/* Everything that is known of a bed. `compiled_qrs.py` reads the first two. */
typedef struct {
    int64_t next;
    float signal[KEPT], energy[2 * REACH];
    int32_t fresh, learning; /* while it learns there are no levels: `evidence` means nothing */
    int64_t deadline, due, last, learnt;
    evidence evidence;
    candidate recent[RECENT], doubtful;
    double doubtful_terms[TERMS], doubtful_score;
    int32_t is_doubtful, recent_count, recent_oldest;
    int32_t passed_first, passed_last; /* places in the pool; -1 for none */
} bed;

/* A candidate that has passed without being a beat, and the place of the next one of its bed or the next free one. */
typedef struct {
    candidate one;
    int32_t next;
} passed;

/* An R peak. In a push of several beds they are ordered by `when` they were decided, then by `order`. */
typedef struct {
    int64_t row, sample, decided;
    double score;
    int64_t when, order;
} peak;

/* What `compiled_qrs.py` fills in, up to `rows`; then what the beds of this detector share. */
typedef struct {
    double least, least_energy, least_size, hum_side, hum_middle, doubt_low, doubt_high, most_rival;
    double first_on_time, twin_tolerance, usual_likeness, small;
    int64_t learning_samples, relearn_after, relearn_always_after, relearn_reach, follower_samples, no_deadline;
    int64_t t_wave_end, t_wave_length, most_larger, most_twins, longest_step;
    double taper[LAST_R - FIRST_R + 1], weights[TERMS];
    bed *beds;
    int64_t rows;
    passed *pool; /* grows as it is needed, and so do the peaks */
    int64_t pool_room;
    peak *peaks;
    int64_t peak_room, peak_count;
    int64_t row, when; /* of what is decided now */
    int32_t free_place, out_of_memory;
} detector;

/* Take the next n samples (at most PIECE) of a bed; write the candidates that they make certain, return how many. */
int find_candidates(const detector *of, bed *at, const float *x, int n, candidate *found);

/* `qrs_evidence.c`: functions of `QrsEvidence`. */
void start_evidence(const detector *of, evidence *known, int32_t first, int32_t last);
int is_trusted(const evidence *known);
int is_reversed(const detector *of, const evidence *known);
int has_size_of_beat(const evidence *known, const candidate *one);
int resembles_beats(const detector *of, const evidence *known, const candidate *one);
void look_at(const detector *of, evidence *known, const candidate *one, double *look);
void write_terms(const detector *of, const evidence *known, const candidate *one, const double *look, double *terms);
double score_terms(const detector *of, const double *terms);
void count_follower(const detector *of, double *terms, const double *look);
void accept_beat(evidence *known, const candidate *one, const double *terms);
void reject_candidate(const detector *of, evidence *known, const candidate *one);
