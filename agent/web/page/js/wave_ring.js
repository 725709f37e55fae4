/** The latest samples and beats of one lead, by their sample index. */

/** Samples that are kept: a little more than half a minute at 125 Hz. */
export const RING_SAMPLES = 4096;
export const FS = 125;
/** The count that holds no value, and microvolts to a count. */
const MISSING = -32768;
const MV_PER_COUNT = 0.005;

export class WaveRing {
  constructor() {
    this.mv = new Float32Array(RING_SAMPLES).fill(NaN);
    /** The beats inside, oldest first: {sample, label, confidence, rrS}. */
    this.beats = [];
    this.first = 0;
    this.head = 0;
    /** Counts the times that the ring began afresh, so that whoever draws it does, too. */
    this.epoch = 0;
  }

  /** Forget everything; the next samples begin at `head`. */
  restart(head) {
    this.mv.fill(NaN);
    this.beats = [];
    this.first = this.head = head;
    this.epoch += 1;
  }

  /**
   * Take samples.
   * @param {number} head index after the last of them
   * @param {Int16Array} counts in 5 microvolts
   * @returns {number} how many of them are new
   */
  push(head, counts) {
    const first = head - counts.length;
    const jumps = first > this.head + RING_SAMPLES || head < this.head - RING_SAMPLES || this.epoch === 0;
    if (jumps) this.restart(first);
    const fresh = Math.max(0, head - this.head);
    for (let i = this.head; i < first; i++) this.mv[i % RING_SAMPLES] = NaN;
    for (let i = 0; i < counts.length; i++) {
      const count = counts[i];
      this.mv[(first + i) % RING_SAMPLES] = count === MISSING ? NaN : count * MV_PER_COUNT;
    }
    this.head = Math.max(this.head, head);
    this.first = Math.max(Math.min(this.first, first), this.head - RING_SAMPLES);
    return fresh;
  }

  /** Take a beat that is now known; one that was known before is replaced. */
  addBeat(beat) {
    const last = this.beats.length - 1;
    let at = last;
    while (at >= 0 && this.beats[at].sample > beat.sample) at -= 1;
    if (at >= 0 && this.beats[at].sample === beat.sample) this.beats[at] = beat;
    else this.beats.splice(at + 1, 0, beat);
    while (this.beats.length && this.beats[0].sample < this.head - RING_SAMPLES) this.beats.shift();
  }

  /** Return the millivolts of a sample, NaN where there are none. */
  at(index) {
    return index >= this.first && index < this.head ? this.mv[index % RING_SAMPLES] : NaN;
  }
}
