/** The trace of one lead of the watched bed: a sweep over ECG paper at a scale that is said. */

import { make, setText } from "./dom.js";
import { drawPaper, sizeCanvas } from "./ecg_paper.js";
import { Sweep } from "./sweep.js";
import { FS } from "./wave_ring.js";
import { fitWindow } from "./voltage_window.js";
import { letterWords, qualityWord } from "./words.js";

/** Millimetres a second and to the millivolt that may be chosen. */
export const SPEEDS = [12.5, 25, 50];
export const GAINS = [1.25, 2.5, 5, 10, 20];
/** Millimetres that the width of a screen shows well, and least and most pixels of one. */
const MILLIMETRES_ACROSS = 215;
const LEAST_MILLIMETRE = 2.2;
const MOST_MILLIMETRE = 5;
const LANE = 19;
/** Seconds of signal from which the gain is chosen. */
const FIT_S = 8;

export class LeadTrace {
  /** @param {boolean} isHeard whether its beats are those of the bed @param {Object} look colours and doubt */
  constructor(isHeard, look) {
    this.look = { ...look, seconds: 8, lane: isHeard ? LANE : 0, allLetters: true };
    this.paper = make("canvas", { "aria-hidden": "true" });
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.label = make("span", { class: "lead-name" });
    this.scale = make("span", { class: "lead-scale" });
    this.room = make("div", { class: "lead-room" }, this.paper, this.canvas);
    this.letters = make("span", { class: "lead-letters", hidden: !isHeard });
    const caption = make("figcaption", {}, this.label, this.letters, this.scale);
    this.element = make("figure", { class: `lead ${isHeard ? "heard" : "other"}` }, caption, this.room);
    this.wave = null;
    this.sweep = null;
    this.speed = 25;
    this.gain = null;
    this.shownGain = 10;
  }

  /** Show name and signal of the lead. */
  update(lead, quality, isHeard, isSilent) {
    const word = qualityWord(quality);
    setText(this.label, [lead, isSilent ? "not known: no data" : word ? `signal ${word}` : "", isHeard ? "" : "not heard"].filter(Boolean).join(" · "));
    if (isHeard) setText(this.letters, letterWords(isSilent ? null : this.wave?.ring.beats.at(-1), this.look.leastConfidence));
    const box = this.speed === 25 ? "200 ms" : `${Math.round(5000 / this.speed)} ms`;
    setText(this.scale, `${this.speed} mm/s · ${this.shownGain} mm/mV · large box ${box}, ${5 / this.shownGain} mV`);
  }

  /** Draw what has come. */
  draw(wave, nowS) {
    if (wave !== this.wave) {
      this.wave = wave;
      this.sweep = new Sweep(this.canvas, wave.ring, this.look);
      this.window = null;
      this.width = 0;
    }
    this.#measure();
    this.sweep.draw(wave.playout.advance(nowS));
  }

  /** Choose gain and baseline anew where the wave no longer fits. */
  refit() {
    if (!this.wave || !this.height) return;
    const millivolts = (gain) => (this.height - this.look.lane) / (this.millimetre * gain);
    const free = fitWindow(this.wave.ring, FIT_S * FS, null);
    const gain = this.gain ?? (GAINS.filter((step) => step <= 10).findLast((step) => millivolts(step) >= free.height * 0.9) ?? GAINS[0]);
    this.window = fitWindow(this.wave.ring, FIT_S * FS, this.shownGain === gain ? this.window : null, millivolts(gain));
    this.shownGain = gain;
    this.sweep.setWindow(this.window);
  }

  /** Take other colours, or another speed or gain. */
  redraw(look = {}) {
    Object.assign(this.look, look);
    this.width = 0;
    this.refit();
  }

  #measure() {
    const { clientWidth: width, clientHeight: height } = this.room;
    if (width === this.width && height === this.height) return;
    [this.width, this.height] = [width, height];
    this.millimetre = Math.min(MOST_MILLIMETRE, Math.max(LEAST_MILLIMETRE, width / MILLIMETRES_ACROSS));
    this.look.seconds = width / (this.millimetre * this.speed);
    this.sweep.resize(width, height);
    drawPaper(sizeCanvas(this.paper, width, height), width, height, this.millimetre, this.look.lane, this.look.colours);
    this.refit();
  }
}
