/* R peaks found as `QrsDetector` does, from the samples of many beds to the decisions, in one call.

`agent/analysis/qrs_detector.py` says what is decided; functions here have the names that they have there. Everything
that is known of a bed is in its `bed`, but for candidates that have passed without being a beat: as long as each of them
is doubtful and soon followed by the next one nothing is learnt again, so no number of them is the most. They are lists
in a pool that all beds share.
*/

#include <stdlib.h>
#include <string.h>

#include "qrs_state.h"

static int32_t take_place(detector *of)
{
    if (of->free_place < 0) {
        const int64_t room = of->pool_room ? 2 * of->pool_room : 64;
        passed *grown = room < INT32_MAX ? realloc(of->pool, sizeof(passed) * room) : NULL;
        if (!grown) {
            of->out_of_memory = 1;
            return -1;
        }
        for (int64_t place = of->pool_room; place < room; place++)
            grown[place].next = place + 1 < room ? (int32_t)place + 1 : -1;
        of->free_place = (int32_t)of->pool_room;
        of->pool = grown;
        of->pool_room = room;
    }
    const int32_t place = of->free_place;
    of->free_place = of->pool[place].next;
    return place;
}

static void append_place(detector *of, bed *at, int32_t place)
{
    of->pool[place].next = -1;
    if (at->passed_last >= 0)
        of->pool[at->passed_last].next = place;
    else
        at->passed_first = place;
    at->passed_last = place;
}

static void append_passed(detector *of, bed *at, const candidate *one)
{
    const int32_t place = take_place(of);
    if (place < 0)
        return;
    of->pool[place].one = *one;
    append_place(of, at, place);
}

static void give_back(detector *of, int32_t place)
{
    of->pool[place].next = of->free_place;
    of->free_place = place;
}

/* Forget all candidates that have passed but those known after a sample. */
static void keep_passed_since(detector *of, bed *at, int64_t sample)
{
    int32_t place = at->passed_first;
    at->passed_first = at->passed_last = -1;
    while (place >= 0) {
        const int32_t next = of->pool[place].next;
        if (of->pool[place].one.known > sample)
            append_place(of, at, place);
        else
            give_back(of, place);
        place = next;
    }
}

static void clear_passed(detector *of, bed *at) { keep_passed_since(of, at, INT64_MAX); }

static void append_peak(detector *of, int64_t sample, int64_t decided, double score)
{
    if (of->peak_count == of->peak_room) {
        const int64_t room = of->peak_room ? 2 * of->peak_room : 64;
        peak *grown = realloc(of->peaks, sizeof(peak) * room);
        if (!grown) {
            of->out_of_memory = 1;
            return;
        }
        of->peaks = grown;
        of->peak_room = room;
    }
    of->peaks[of->peak_count] = (peak){of->row, sample, decided, score, of->when, of->peak_count};
    of->peak_count++;
}

static void push_candidate(detector *of, bed *at, const candidate *one, int64_t now);

/* Set the levels by the candidates that have passed, then decide those known since sample `oldest`. */
static void learn(detector *of, bed *at, int64_t now, int64_t oldest)
{
    int32_t place = at->passed_first;
    at->deadline = of->no_deadline;
    if (place < 0)
        return; /* there was no memory for them */
    start_evidence(of, &at->evidence, at->passed_first, at->passed_last);
    at->learning = 0;
    at->passed_first = at->passed_last = -1;
    at->learnt = now;
    at->deadline = at->due = now + of->relearn_after;
    while (place >= 0) {
        const candidate one = of->pool[place].one;
        const int32_t next = of->pool[place].next;
        give_back(of, place);
        place = next;
        if (one.known >= oldest)
            push_candidate(of, at, &one, now);
    }
}

static void decide(detector *of, bed *at, const candidate *one, const double *terms, double score, int64_t now)
{
    if (score > (of->least < 0 ? of->least : 0))
        append_peak(of, one->sample, now, score);
    if (score > 0) {
        accept_beat(&at->evidence, one, terms);
        at->last = one->known;
        clear_passed(of, at);
        at->due = (at->last > at->learnt ? at->last : at->learnt) + of->relearn_after;
    } else {
        reject_candidate(of, &at->evidence, one);
        append_passed(of, at, one);
    }
    at->deadline = at->due;
    if (is_reversed(of, &at->evidence)) {
        clear_passed(of, at);
        for (int i = 0; i < at->recent_count; i++)
            append_passed(of, at, at->recent + (at->recent_oldest + i) % RECENT);
        learn(of, at, now, now + 1);
    }
}

/* Decide the doubtful candidate, now that its follower is known; NULL for none. */
static void settle(detector *of, bed *at, const candidate *follower, const double *look, int64_t now)
{
    const candidate one = at->doubtful;
    double terms[TERMS], score = at->doubtful_score;
    memcpy(terms, at->doubtful_terms, sizeof terms);
    at->is_doubtful = 0;
    if (follower && follower->known - one.known <= of->follower_samples) {
        count_follower(of, terms, look);
        score = score_terms(of, terms);
    }
    decide(of, at, &one, terms, score, now);
}

static void push_candidate(detector *of, bed *at, const candidate *one, int64_t now)
{
    double look[OWN_COUNT], terms[TERMS];
    if (at->learning) {
        if (at->passed_first < 0)
            at->deadline = one->known + of->learning_samples;
        append_passed(of, at, one);
        return;
    }
    if (at->recent_count == RECENT) {
        at->recent[at->recent_oldest] = *one;
        at->recent_oldest = (at->recent_oldest + 1) % RECENT;
    } else
        at->recent[(at->recent_oldest + at->recent_count++) % RECENT] = *one;
    look_at(of, &at->evidence, one, look);
    if (at->is_doubtful)
        settle(of, at, one, look, now);
    write_terms(of, &at->evidence, one, look, terms);
    const double score = score_terms(of, terms);
    if (!(of->doubt_low < score && score <= of->doubt_high)) {
        decide(of, at, one, terms, score, now);
        return;
    }
    at->doubtful = *one;
    memcpy(at->doubtful_terms, terms, sizeof terms);
    at->doubtful_score = score;
    at->is_doubtful = 1;
    at->deadline = one->known + of->follower_samples;
}

/* No beat for long: learn the levels again if there is something to learn from. */
static void relearn(detector *of, bed *at, int64_t now)
{
    const int silent = now - at->last >= of->relearn_always_after;
    int likely = silent || !is_trusted(&at->evidence), found = 0;
    keep_passed_since(of, at, now - of->relearn_after);
    for (int32_t i = at->passed_first; i >= 0 && !found; i = of->pool[i].next) {
        const candidate *one = &of->pool[i].one;
        found = likely || has_size_of_beat(&at->evidence, one) || resembles_beats(of, &at->evidence, one);
    }
    if (found)
        learn(of, at, now, now - of->relearn_reach);
    else if (silent) {
        at->learning = 1;
        at->deadline = of->no_deadline;
    } else
        at->deadline = at->due = now + of->relearn_after / 3;
}

static void advance_to(detector *of, bed *at, int64_t now)
{
    while (at->deadline < now) {
        const int64_t due = at->deadline;
        if (at->is_doubtful)
            settle(of, at, NULL, NULL, due);
        else if (at->learning)
            learn(of, at, due, due - of->learning_samples);
        else
            relearn(of, at, due);
    }
}

static void push_bed(detector *of, bed *at, const float *x, int64_t n)
{
    const int64_t first = at->next;
    candidate found[MOST_FOUND];
    for (int64_t done = 0; done < n;) {
        const int piece = n - done < PIECE ? (int)(n - done) : PIECE;
        const int count = find_candidates(of, at, x + done, piece, found);
        for (int i = 0; i < count; i++) {
            of->when = found[i].known - first;
            if (at->deadline < found[i].known)
                advance_to(of, at, found[i].known);
            push_candidate(of, at, found + i, found[i].known);
        }
        at->next += piece;
        done += piece;
    }
    of->when = n;
    if (at->deadline < at->next)
        advance_to(of, at, at->next);
}

static int compare_peaks(const void *one, const void *other)
{
    const peak *x = one, *y = other;
    if (x->when != y->when)
        return x->when < y->when ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

/* Push n samples (count, n) of some rows; return how many R peaks there are, -1 if a row does not exist, -2 if there is
no memory. The peaks are those of no more than the last call. */
int64_t push_rows(detector *of, const intptr_t *rows, int64_t count, const float *x, int64_t n)
{
    of->peak_count = 0;
    for (int64_t i = 0; i < count; i++)
        if (rows[i] < 0 || rows[i] >= of->rows)
            return -1;
    for (int64_t i = 0; i < count; i++) {
        of->row = rows[i];
        push_bed(of, of->beds + rows[i], x + i * n, n);
    }
    if (count > 1 && of->peak_count > 1)
        qsort(of->peaks, of->peak_count, sizeof(peak), compare_peaks);
    return of->out_of_memory ? -2 : of->peak_count;
}

/* Decide what is left of a row at the end of a stretch, `now` its last sample, as `finish`; return as `push_rows`. */
int64_t finish_row(detector *of, int64_t row, int64_t now)
{
    of->peak_count = 0;
    of->row = row;
    of->when = 0;
    if (of->beds[row].is_doubtful)
        settle(of, of->beds + row, NULL, NULL, now);
    return of->out_of_memory ? -2 : of->peak_count;
}

/* Let a row that is new, all zeros, wait for its first sample. */
void open_row(detector *of, int64_t row)
{
    bed *at = of->beds + row;
    at->passed_first = at->passed_last = -1;
    at->learning = at->fresh = 1;
    at->deadline = at->due = of->no_deadline;
}

/* Begin a run at sample `first`: `start`. */
void start_row(detector *of, int64_t row, int64_t first)
{
    bed *at = of->beds + row;
    clear_passed(of, at);
    memset(at, 0, sizeof *at);
    open_row(of, row);
    at->next = first;
}

/* Go on at sample `first` behind a gap: `interrupt`. */
void interrupt_row(detector *of, int64_t row, int64_t first)
{
    bed *at = of->beds + row;
    if (at->learning) {
        start_row(of, row, first);
        return;
    }
    memset(at->energy, 0, sizeof at->energy);
    at->fresh = 1;
    at->next = first;
    clear_passed(of, at);
    at->recent_count = at->recent_oldest = 0;
}

int64_t size_of_bed(void) { return sizeof(bed); }

void free_detector(detector *of)
{
    free(of->pool);
    free(of->peaks);
}
