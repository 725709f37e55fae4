/** All that the page knows of the ward: beds, order, link, recording, and the waves of the beds that are shown. */

import { MonitorClock } from "./clock.js";
import { Playout } from "./playout.js";
import { readBed, readIndexRow } from "./protocol.js";
import { WaveRing } from "./wave_ring.js";
import { isSilent, useZone } from "./words.js";

/** The wave of one lead of a bed, and the movement with which it is drawn. */
class Wave {
  constructor(name) {
    this.name = name;
    this.ring = new WaveRing();
    this.playout = new Playout();
  }

  /** Take samples and beats that have come at `nowS`. */
  take(part, nowS) {
    const epoch = this.ring.epoch;
    if (part.restarts) this.ring.restart(part.head - part.counts.length);
    if (part.counts.length) this.ring.push(part.head, part.counts);
    if (this.ring.epoch !== epoch) this.playout.restart();
    for (const beat of part.beats) this.ring.addBeat(beat);
    if (part.counts.length) this.playout.arrive(this.ring.head, nowS);
  }
}

export class Ward {
  constructor() {
    this.clock = new MonitorClock();
    this.reset(null);
  }

  /** Forget everything, as after a restart of the monitor; `hello` is what the new one says of itself. */
  reset(hello) {
    this.hello = hello;
    this.beds = new Map();
    this.namesById = new Map();
    this.urgent = [];
    this.arrival = [];
    this.index = new Map();
    /** Null until the monitor has said how its ward stands, as while it is starting: none is not known. */
    this.counts = null;
    this.link = null;
    this.recording = null;
    this.ledger = null;
    this.events = [];
    this.waves = new Map();
    this.device = this.weights = "";
    this.leastConfidence = 0;
    this.isStale = false;
    /** Alarms of the signal, not of the heart, by their names and short names. */
    this.technical = new Set();
  }

  /** Take the greeting. Returns whether it is that of another run of the monitor than before. */
  greet(hello) {
    const isOther = this.hello === null || this.hello.start !== hello.start;
    if (isOther) {
      this.clock = new MonitorClock();
      this.reset(hello);
    }
    this.hello = hello;
    useZone(hello.zone);
    this.technical = new Set((hello.conditions ?? []).filter((one) => one.technical).flatMap((one) => [one.name, one.short]));
    this.clock.hear(hello.now_s);
    return isOther;
  }

  /** Take from a monitor that is starting that it is there. */
  takeStarting({ now_s: nowS }) {
    this.clock.hear(nowS);
  }

  /** Return whether nothing is known of the beds yet. */
  isStarting() {
    return this.hello !== null && this.counts === null;
  }

  /** Take the state of the ward. What does not come along has not changed. */
  take(state) {
    this.clock.hear(state.now_s);
    // It changes with daylight saving time
    if (state.zone) useZone(state.zone);
    if (state.index) this.#takeIndex(state.index.map(readIndexRow));
    this.beds = new Map(state.beds.map(readBed).map((bed) => [bed.bed, bed]));
    for (const bed of this.beds.values()) this.#markOld(bed);
    if (state.events) this.events = state.events;
    const { counts, link, recording, ledger, device, weights } = state;
    this.leastConfidence = state.least_confidence ?? 0;
    Object.assign(this, { counts, link, recording, ledger, device, weights });
  }

  /** Mark the alarms of a bed without data, of the heart, as of when it was last heard: nobody knows whether they go on. */
  #markOld(bed) {
    for (const alarm of bed.alarms) if (isSilent(bed) && !this.technical.has(alarm.condition)) alarm.asOf = bed.heardAt;
  }

  #takeIndex(rows) {
    this.index = new Map(rows.map((row) => [row.bed, row]));
    this.namesById = new Map(rows.map((row) => [row.id, row.bed]));
    this.urgent = rows.map((row) => row.bed);
    for (const [key, wave] of this.waves) if (!this.index.has(wave.name)) this.waves.delete(key);
    this.arrival = [...rows].sort((one, other) => one.id - other.id).map((row) => row.bed);
  }

  /** Take the waves of a tick. */
  takeWaves(parts, nowS) {
    for (const part of parts) {
      const name = this.namesById.get(part.id);
      if (name !== undefined) this.wave(name, part.lead, part.isFull).take(part, nowS);
    }
  }

  /**
   * Return the wave of a lead of a bed, which may still be empty.
   * @param {string} name of the bed
   * @param {number} lead 0: the heard one
   * @param {boolean} isFull as it comes of a bed that is watched, else as of a bed of the wall
   */
  wave(name, lead = 0, isFull = false) {
    const key = waveKey(name, lead, isFull);
    let wave = this.waves.get(key);
    if (!wave) this.waves.set(key, (wave = new Wave(name)));
    return wave;
  }

  /** Return the id of a bed; undefined if there is none of this name. */
  idOf(name) {
    return this.index.get(name)?.id;
  }

  /** Return the monitor's Unix time. */
  now() {
    return this.clock.now();
  }

  /** Return the rate of a bed to be shown; null where there is none, or none that is still true. */
  shownRate(bed) {
    return this.isStale ? null : bed.rate;
  }
}

function waveKey(name, lead, isFull) {
  return `${lead}${isFull ? "full" : "wall"} ${name}`;
}
