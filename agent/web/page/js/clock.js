/** The monitor's clock as the browser knows it: ages are told by it, however wrong the clock of the computer is. */

/** Seconds by which an earlier estimate may be later than a new one before the clock counts as set back. */
const SET_BACK_S = 5;
/** Seconds of doubt about the estimate that each message adds: clocks drift apart. */
const DRIFT_S = 0.0005;

export class MonitorClock {
  constructor() {
    this.offsetS = null;
  }

  /** Take the monitor's time from a message that has just come. The least delayed one is the best. */
  hear(monitorNowS) {
    const offset = monitorNowS - performance.now() / 1000;
    const best = this.offsetS;
    const better = best === null || offset > best || offset < best - SET_BACK_S;
    this.offsetS = better ? offset : best - DRIFT_S;
  }

  /** Return the monitor's Unix time. */
  now() {
    return this.offsetS === null ? Date.now() / 1000 : performance.now() / 1000 + this.offsetS;
  }

  /** Return by how many seconds the clock of this computer is ahead of the monitor's. */
  skew() {
    return Date.now() / 1000 - this.now();
  }
}
