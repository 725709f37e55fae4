/** Draws a wave as bedside monitors do: it stands still, and an erase bar runs over it with the new signal behind. */

import { FS } from "./wave_ring.js";
import { beatLetter } from "./words.js";

/** Pixels between the newest sample and the oldest. */
const BAR = 14;
const LINE_WIDTH = 1.4;
/** Height in pixels from which a trace has a thicker line, to be seen from afar. */
const HIGH = 84;
const THICK_WIDTH = 2;
/** Length in pixels of the dots of a missing stretch. */
const DOT = 4;
/** Pixels of a letter to each side of its beat. */
const LETTER_HALF = 7;

/**
 * @typedef {Object} SweepLook
 * @property {number} seconds signal across the canvas
 * @property {number} lane pixels at the top that are kept for letters; 0 for none
 * @property {boolean} allLetters whether N beats have their letter, too
 * @property {Object} colours of trace, missing stretches and classes
 * @property {number} leastConfidence below which a letter is small and dim
 */

export class Sweep {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./wave_ring.js").WaveRing} ring
   * @param {SweepLook} look
   */
  constructor(canvas, ring, look) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { desynchronized: false });
    this.ring = ring;
    this.look = look;
    this.window = { bottom: -0.5, height: 2 };
    this.width = this.height = 0;
    this.drawnTo = null;
    this.epoch = -1;
    this.letteredTo = 0;
  }

  /** Take the size of the canvas in CSS pixels; what was drawn is gone. */
  resize(width, height) {
    const ratio = Math.min(2, devicePixelRatio || 1);
    this.width = width;
    this.height = height;
    this.canvas.width = Math.max(1, Math.round(width * ratio));
    this.canvas.height = Math.max(1, Math.round(height * ratio));
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.drawnTo = null;
  }

  /** Have everything drawn anew with the next frame. */
  invalidate() {
    this.drawnTo = null;
  }

  /** Show these millivolts; everything is drawn anew if they differ. */
  setWindow(window) {
    if (window.bottom === this.window.bottom && window.height === this.window.height) return;
    this.window = window;
    this.drawnTo = null;
  }

  /** Draw up to a position in samples. Returns whether there was anything to draw. */
  draw(position) {
    if (position === null || this.width < 2) return false;
    const across = this.look.seconds * FS;
    const fresh = this.drawnTo === null || this.epoch !== this.ring.epoch || position - this.drawnTo > across / 2;
    if (fresh || position < this.drawnTo) this.#drawAll(position, across);
    else if (position - this.drawnTo > 0.05) this.#drawOn(position, across);
    else return this.#drawLetters(position, across);
    this.drawnTo = position;
    this.#drawLetters(position, across);
    return true;
  }

  #drawAll(position, across) {
    this.epoch = this.ring.epoch;
    this.context.clearRect(0, 0, this.width, this.height);
    const kept = across * (1 - BAR / this.width);
    const from = Math.max(this.ring.first, position - kept);
    this.#trace(from, position, across);
    this.letteredTo = from;
  }

  #drawOn(position, across) {
    const from = this.#x(this.drawnTo, across) + BAR - 1;
    const wide = ((position - this.drawnTo) / across) * this.width + 2;
    const start = from % this.width;
    this.context.clearRect(start, 0, wide, this.height);
    if (start + wide > this.width) this.context.clearRect(0, 0, start + wide - this.width, this.height);
    this.#trace(this.drawnTo, position, across);
  }

  #x(position, across) {
    return ((position % across) / across) * this.width;
  }

  #y(value) {
    const { lane } = this.look;
    const share = (value - this.window.bottom) / this.window.height;
    return Math.min(this.height, Math.max(lane, this.height - share * (this.height - lane)));
  }

  #trace(from, to, across) {
    const { context, ring } = this;
    context.strokeStyle = this.look.colours.trace;
    context.fillStyle = this.look.colours.missing;
    context.lineWidth = this.height < HIGH ? LINE_WIDTH : THICK_WIDTH;
    context.lineJoin = "round";
    context.beginPath();
    let isDown = false;
    let before = -1;
    for (let at = from; at <= to; at = at < to && Math.floor(at) + 1 > to ? to : Math.floor(at) + 1) {
      const x = this.#x(at, across);
      const value = interpolate(ring, at);
      if (value !== value) {
        this.#dot(x);
        isDown = false;
      } else {
        if (isDown && x > before) context.lineTo(x, this.#y(value));
        else context.moveTo(x, this.#y(value));
        isDown = true;
      }
      before = x;
      if (at === to) break;
    }
    context.stroke();
  }

  #dot(x) {
    if (Math.floor(x / DOT) % 3 === 0) this.context.fillRect(x, (this.height + this.look.lane) / 2, 1.5, 2);
  }

  #drawLetters(position, across) {
    const { lane, allLetters, colours, leastConfidence } = this.look;
    if (!lane) return false;
    const beats = this.ring.beats;
    let first = beats.length;
    while (first > 0 && beats[first - 1].sample > this.letteredTo) first -= 1;
    const oldest = position - across * (1 - (BAR + LETTER_HALF) / this.width);
    let last = null;
    for (const beat of beats.slice(first)) {
      if (beat.sample > position) break;
      last = beat;
      if (beat.sample < oldest || (beat.label === "N" && !allLetters)) continue;
      this.#letter(beat, this.#x(beat.sample, across), beat.confidence < leastConfidence, colours);
    }
    if (last) this.letteredTo = last.sample;
    return last !== null;
  }

  #letter(beat, x, isDoubtful, colours) {
    const { context } = this;
    const abnormal = beat.label !== "N";
    context.globalAlpha = isDoubtful ? 0.6 : 1;
    context.fillStyle = colours[beat.label] ?? colours.trace;
    context.font = `${abnormal && !isDoubtful ? "bold" : "normal"} ${this.look.lane - 3}px ${colours.font}`;
    context.textAlign = "center";
    context.textBaseline = "top";
    context.fillText(beatLetter(beat, this.look.leastConfidence), Math.min(this.width - 5, Math.max(5, x)), 1);
    context.globalAlpha = 1;
  }
}

function interpolate(ring, at) {
  const index = Math.floor(at);
  const share = at - index;
  const value = ring.at(index);
  if (share < 1e-6) return value;
  const next = ring.at(index + 1);
  return next === next ? value + share * (next - value) : value;
}
