/** ECG paper: boxes of 40 ms by 0.1 mV and 200 ms by 0.5 mV at 25 mm/s and 10 mm/mV, and strips drawn on it. */

import { FS } from "./wave_ring.js";
import { beatLetter } from "./words.js";

const SMALL_PER_LARGE = 5;
/** Pixels of a small box below which only the large ones are drawn. */
const LEAST_FINE = 2.6;
const LINE_WIDTH = 1.5;
const LANE = 18;
const MISSING = -32768;
const MV_PER_COUNT = 0.005;

/** Give a canvas its size in CSS pixels and return its context, scaled for the screen. */
export function sizeCanvas(canvas, width, height) {
  const ratio = Math.min(2, devicePixelRatio || 1);
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/** Draw the boxes of ECG paper, `millimetre` pixels each, from the left and from `zeroY` on. */
export function drawPaper(context, width, height, millimetre, zeroY, colours) {
  context.clearRect(0, 0, width, height);
  context.lineWidth = 1;
  for (const isCoarse of [false, true]) {
    if (!isCoarse && millimetre < LEAST_FINE) continue;
    const step = millimetre * (isCoarse ? SMALL_PER_LARGE : 1);
    context.strokeStyle = isCoarse ? colours.coarse : colours.fine;
    context.beginPath();
    for (let x = 0; x <= width; x += step) {
      context.moveTo(Math.round(x) + 0.5, 0);
      context.lineTo(Math.round(x) + 0.5, height);
    }
    for (let y = zeroY % step; y <= height; y += step) {
      context.moveTo(0, Math.round(y) + 0.5);
      context.lineTo(width, Math.round(y) + 0.5);
    }
    context.stroke();
  }
}

/**
 * Draw the strip of an alarm with the letters of its beats on ECG paper.
 * @param {HTMLCanvasElement} canvas
 * @param {Object} strip {first, counts, beats: [{sample, label, confidence}], announced, onset}
 * @param {{colours: Object, leastConfidence: number, millimetre: number, height: number}} look
 */
export function drawStrip(canvas, strip, look) {
  const { colours, millimetre, height } = look;
  const pixelsPerSample = (25 * millimetre) / FS;
  const width = Math.max(60, Math.ceil(strip.counts.length * pixelsPerSample));
  const context = sizeCanvas(canvas, width, height);
  const values = strip.counts.map((count) => (count === MISSING ? NaN : count * MV_PER_COUNT));
  const { zeroY, perMv } = fitStrip(values, height, millimetre);
  drawPaper(context, width, height, millimetre, zeroY, colours);
  drawLine(context, values, (value) => zeroY - value * perMv, pixelsPerSample, colours);
  drawMoment(context, (strip.announced - strip.first) * pixelsPerSample, height, colours, "announced");
  for (const beat of strip.beats) drawLetter(context, beat, (beat.sample - strip.first) * pixelsPerSample, look);
  return { width, perMv };
}

/** Return where 0 mV lies and how high a millivolt is: 10 mm, or less where the wave is too high for the strip. */
function fitStrip(values, height, millimetre) {
  const known = values.filter((value) => value === value).sort((one, other) => one - other);
  const low = known[Math.floor(known.length / 200)] ?? -1;
  const high = known[known.length - 1 - Math.floor(known.length / 200)] ?? 1;
  const room = height - LANE - 4;
  const perMv = [10, 5, 2.5, 1.25, 0.5].map((mm) => mm * millimetre).find((mv) => (high - low) * mv <= room) ?? millimetre / 4;
  return { perMv, zeroY: LANE + room / 2 + ((low + high) / 2) * perMv };
}

function drawLine(context, values, y, step, colours) {
  context.strokeStyle = colours.trace;
  context.lineWidth = LINE_WIDTH;
  context.lineJoin = "round";
  context.beginPath();
  let isDown = false;
  values.forEach((value, i) => {
    if (value === value) context[isDown ? "lineTo" : "moveTo"](i * step, y(value));
    isDown = value === value;
  });
  context.stroke();
}

function drawLetter(context, beat, x, { colours, leastConfidence }) {
  context.globalAlpha = beat.confidence < leastConfidence ? 0.55 : 1;
  context.fillStyle = colours[beat.label] ?? colours.text;
  context.font = `${beat.label === "N" ? "normal" : "bold"} 14px ${colours.font}`;
  context.textAlign = "center";
  context.textBaseline = "top";
  context.fillText(beatLetter(beat, leastConfidence), x, 2);
  context.globalAlpha = 1;
}

function drawMoment(context, x, height, colours, word) {
  if (!(x >= 0)) return;
  context.strokeStyle = context.fillStyle = colours.dim;
  context.setLineDash([4, 3]);
  context.beginPath();
  context.moveTo(x, LANE);
  context.lineTo(x, height);
  context.stroke();
  context.setLineDash([]);
  context.font = `11px ${colours.font}`;
  context.textAlign = "left";
  context.textBaseline = "bottom";
  // On a ground of its own, over the trace
  context.fillStyle = colours.paper;
  context.fillRect(x + 2, height - 17, context.measureText(word).width + 5, 15);
  context.fillStyle = colours.dim;
  context.fillText(word, x + 4, height - 3);
}
