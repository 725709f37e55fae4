/** Which millivolts the height of a trace shows: steady while the wave fits, changed as little as possible. */

/** Millivolts that the height may show. */
const HEIGHTS_MV = [0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 12, 16, 32, 64];
/** Least ratio of the height to the wave's range, so that the wave does not touch the edges. */
const MARGIN = 1.15;
/** One sample in this many may lie beyond either edge, so that spikes do not set the scale. */
const SAMPLES_PER_SPIKE = 200;

/**
 * Return the window of the latest samples of a ring.
 * @param {import("./wave_ring.js").WaveRing} ring
 * @param {number} samples how many of the latest count
 * @param {?{bottom: number, height: number, isGuess: boolean|undefined}} before the window until now; `isGuess`: of no samples
 * @param {?number} height millivolts that are wanted; null: as many as the wave needs
 * @returns {{bottom: number, height: number}} `before` itself where that still fits
 */
export function fitWindow(ring, samples, before, height = null) {
  const found = waveRange(ring, samples);
  if (!found) return before ?? { bottom: -0.5, height: height ?? 2, isGuess: true };
  const { low, high, middle } = found;
  if (before && !before.isGuess && holds(before, low, high, height)) return before;
  const needed = (high - low) * MARGIN;
  const chosen = height ?? HEIGHTS_MV.find((step) => step >= needed) ?? HEIGHTS_MV.at(-1);
  // The lower half leaves most room for R peaks, which point up in most leads
  const centre = needed <= chosen ? (low + high) / 2 : middle + 0.15 * chosen;
  const bottom = Math.round((centre - chosen / 2) / (chosen / 16)) * (chosen / 16);
  const near = before && !before.isGuess && before.height === chosen && Math.abs(bottom - before.bottom) < chosen / 4;
  return near && needed > chosen ? before : { bottom, height: chosen };
}

function holds(window, low, high, height) {
  if (height !== null && height !== window.height) return false;
  if (low < window.bottom || high > window.bottom + window.height) return false;
  // A small wave at an edge of a high window leaves the rest of it empty
  if (height !== null) return Math.abs((low + high) / 2 - window.bottom - height / 2) <= height / 4;
  return window.height === HEIGHTS_MV[0] || (high - low) * MARGIN > window.height / 3;
}

function waveRange(ring, samples) {
  const values = [];
  for (let i = Math.max(ring.first, ring.head - samples); i < ring.head; i++) {
    const value = ring.at(i);
    if (value === value) values.push(value);
  }
  if (values.length < 10) return null;
  const sorted = Float32Array.from(values).sort();
  const spikes = Math.floor(sorted.length / SAMPLES_PER_SPIKE);
  return { low: sorted[spikes], high: sorted[sorted.length - 1 - spikes], middle: sorted[sorted.length >> 1] };
}
