/** Turns samples that come in lumps into a steady movement, at most a quarter of a second behind them. */

import { FS } from "./wave_ring.js";

/** Most seconds that are kept back so that the movement does not stop between two lumps. */
const LONGEST_DELAY_S = 0.25;
/** Seconds over which the arrival of lumps is looked at. */
const MEMORY_S = 4;
/** Seconds off the mark from which the movement jumps instead of hurrying. */
const JUMP_S = 2;
/** How much faster or slower it becomes for each second off the mark. */
const PULL = 3;

export class Playout {
  constructor() {
    this.restart();
  }

  /** Begin afresh, as in a new run. */
  restart() {
    this.head = null;
    this.lumps = [];
    this.catchUp();
  }

  /** Go on at the newest samples, as after the page was hidden. */
  catchUp() {
    this.position = null;
    this.atS = 0;
  }

  /** Take the index after the last sample, as it is at `nowS` (seconds of any steady clock). */
  arrive(head, nowS) {
    if (this.head !== null && head > this.head) {
      // What there was until this moment, and what there is from it on, on a line of 125 samples a second
      this.lumps.push({ nowS, before: this.head - FS * nowS, after: head - FS * nowS });
      while (this.lumps[0].nowS < nowS - MEMORY_S) this.lumps.shift();
      this.low = Math.min(...this.lumps.map((lump) => lump.before));
      this.high = Math.max(...this.lumps.map((lump) => lump.after));
    }
    this.head = head;
  }

  /**
   * Return the position to draw up to, in samples; null while nothing is known.
   * @param {?number} nowS seconds of a steady clock; null: stand still
   */
  advance(nowS) {
    if (this.head === null || nowS === null) return this.position;
    const wanted = this.#wanted(nowS);
    const elapsed = Math.min(1, Math.max(0, nowS - this.atS));
    this.atS = nowS;
    if (this.position === null || Math.abs(wanted - this.position) > JUMP_S * FS) this.position = wanted;
    else {
      const off = (wanted - this.position) / FS;
      const speed = Math.min(8, Math.max(0, 1 + PULL * off));
      this.position = Math.min(this.head - 1, this.position + elapsed * FS * speed);
    }
    return this.position;
  }

  #wanted(nowS) {
    if (!this.lumps.length) return this.head - 1;
    const line = Math.max(this.low, this.high - LONGEST_DELAY_S * FS);
    return Math.min(this.head - 1, line + FS * nowS);
  }
}
