/** Alarm sounds after IEC 60601-1-8: bursts of pulses, by priority. Browsers allow sound only after a click. */

/** Seconds between the beginnings of the pulses of a burst, and to the next burst. */
const PATTERNS = {
  // Five pulses, c-c-c--c-c, twice
  high: { starts: [0, 0.25, 0.5, 0.95, 1.2, 2.0, 2.25, 2.5, 2.95, 3.2], pulse: 0.15, pitch: [523, 523, 523, 784, 784], next: 8 },
  medium: { starts: [0, 0.4, 0.8], pulse: 0.2, pitch: [523, 440, 392], next: 10 },
  low: { starts: [0, 0.4], pulse: 0.22, pitch: [392, 330], next: 20 },
};
const RANKS = { low: 1, medium: 2, high: 3 };
/** Partials of the tone: four of them are heard from any direction. */
const PARTIALS = [1, 2, 3, 4];
const LOUDNESS = 0.16;
const SLOPE_S = 0.02;

export class AlarmSound {
  /** @param {function(): ?string} wanted returns the priority that is to be heard now, null for none */
  constructor(wanted) {
    this.wanted = wanted;
    this.context = null;
    this.isOn = false;
    this.bursts = 0;
    this.playing = null;
    this.nextS = 0;
  }

  /** Turn the sound on or off; has to be called from a click or a key the first time. */
  async toggle() {
    this.isOn = !this.isAudible();
    if (!this.isOn) {
      this.#stop();
      return;
    }
    this.context ??= new AudioContext();
    await this.context.resume();
    this.nextS = 0;
    this.#burst("low", { starts: [0], pulse: 0.15, pitch: [523] });
  }

  /** Return whether alarms can really be heard: the browser may have suspended what was on. */
  isAudible() {
    return this.isOn && this.context?.state === "running";
  }

  /** Begin what is to be heard now; has to be called a few times a second, in a hidden tab, too. */
  check() {
    if (!this.isAudible()) return;
    const priority = this.wanted();
    if (priority === null) {
      this.#stop();
      return;
    }
    const rises = RANKS[priority] > (RANKS[this.playing] ?? 0);
    if (!rises && this.context.currentTime < this.nextS) return;
    if (rises) this.#stop();
    this.playing = priority;
    this.nextS = this.context.currentTime + PATTERNS[priority].next;
    this.bursts += 1;
    this.#burst(priority, PATTERNS[priority]);
  }

  #burst(priority, { starts, pulse, pitch }) {
    this.gain = this.context.createGain();
    this.gain.connect(this.context.destination);
    const loudness = priority === "low" ? LOUDNESS / 2 : LOUDNESS;
    starts.forEach((start, i) => this.#pulse(this.context.currentTime + 0.05 + start, pulse, pitch[i % pitch.length], loudness));
  }

  #pulse(atS, lengthS, hertz, loudness) {
    const gain = this.context.createGain();
    gain.gain.setValueAtTime(0, atS);
    gain.gain.linearRampToValueAtTime(loudness, atS + SLOPE_S);
    gain.gain.setValueAtTime(loudness, atS + lengthS - SLOPE_S);
    gain.gain.linearRampToValueAtTime(0, atS + lengthS);
    gain.connect(this.gain);
    for (const partial of PARTIALS) {
      const tone = this.context.createOscillator();
      const part = this.context.createGain();
      part.gain.value = 1 / partial;
      tone.frequency.value = hertz * partial;
      tone.connect(part).connect(gain);
      tone.start(atS);
      tone.stop(atS + lengthS);
    }
  }

  #stop() {
    this.gain?.disconnect();
    this.gain = null;
    this.playing = null;
    this.nextS = 0;
  }
}

/**
 * Return the priority of the most urgent alarm of the ward that is neither silenced nor acknowledged; a lost connection
 * sounds as medium.
 */
export function audiblePriority(ward, isConnected) {
  let best = isConnected ? null : "medium";
  for (const row of ward.index.values()) {
    if (row.audible && RANKS[row.audible] > (RANKS[best] ?? 0)) best = row.audible;
  }
  return best;
}
