/** The monitor's clock as the browser knows it: ages are told by it, however wrong the clock of the computer is. */

/** Seconds by which a message may be late before the monitor's clock counts as set back instead. */
const SET_BACK_S = 60;
/** Seconds of doubt about the estimate that each message in time adds: clocks drift apart. */
const DRIFT_S = 0.0005;
/** Age of the newest message in seconds from which the page is late, and below which it is in time again after a while. */
const LATE_S = 2;
const IN_TIME_S = 1;
const CALM_S = 2;

export class MonitorClock {
  constructor() {
    this.offsetS = null;
    this.heardS = this.toldS = -Infinity;
    this.isLate = false;
    this.lateAtS = 0;
  }

  /** Take the monitor's time from a message that has just come. The least delayed one is the best. */
  hear(monitorNowS) {
    const offset = monitorNowS - performance.now() / 1000;
    const delayS = this.offsetS === null ? 0 : this.offsetS - offset;
    if (this.offsetS === null || delayS < 0 || delayS > SET_BACK_S) {
      this.offsetS = offset;
      if (delayS > SET_BACK_S) this.toldS = -Infinity;
    } else if (delayS < IN_TIME_S) this.offsetS -= DRIFT_S;
    this.heardS = monitorNowS;
    this.#judge();
  }

  /** Return the monitor's Unix time; it never goes back. */
  now() {
    if (this.offsetS === null) return Date.now() / 1000;
    this.toldS = Math.max(this.toldS, performance.now() / 1000 + this.offsetS);
    return this.toldS;
  }

  /** Return how old the newest message is, in seconds: its way here, and the time since. */
  ageS() {
    return this.offsetS === null ? 0 : Math.max(0, performance.now() / 1000 + this.offsetS - this.heardS);
  }

  /** Return by how many seconds the page is late, 0 if it is in time; it does not flicker between the two. */
  lateS() {
    this.#judge();
    return this.isLate ? this.ageS() : 0;
  }

  /** Return by how many seconds the clock of this computer is ahead of the monitor's. */
  skew() {
    return Date.now() / 1000 - this.now();
  }

  #judge() {
    const nowS = performance.now() / 1000;
    const ageS = this.ageS();
    if (ageS > LATE_S) this.isLate = true;
    if (ageS > IN_TIME_S) this.lateAtS = nowS;
    if (nowS - this.lateAtS > CALM_S) this.isLate = false;
  }
}
