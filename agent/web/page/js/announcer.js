/** Tells a screen reader each new alarm once, and the rate of the watched bed now and then. */

import { setText } from "./dom.js";
import { alarmSentence } from "./alarm_marks.js";
import { ageText } from "./words.js";

/** Alarms that are told one by one when the page opens or many come at once. */
const MOST_AT_ONCE = 3;
/** Alarms that are kept as told. */
const MOST_KNOWN = 2000;
/** Least seconds between two rates, and least change of the rate that is told. */
const RATE_PAUSE_S = 20;
const RATE_CHANGE = 5;

export class Announcer {
  /** @param {HTMLElement} alert region with role="alert" @param {HTMLElement} polite region with aria-live="polite" */
  constructor(alert, polite) {
    this.alert = alert;
    this.polite = polite;
    this.reset();
  }

  /** Forget what was told, as after a restart of the monitor. */
  reset() {
    this.told = new Map();
    this.rate = null;
    this.rateToldS = -Infinity;
    setText(this.alert, "");
    setText(this.polite, "");
  }

  /** Tell what is new of the alarms: by name those of the beds that are shown, by priority those of the others. */
  tellAlarms(ward) {
    const present = new Map();
    for (const bed of ward.beds.values()) {
      for (const alarm of bed.alarms.filter((one) => one.phase === "active")) {
        present.set(`${bed.bed}/${alarm.key}/${alarm.priority}`, `Bed ${bed.bed}, ${alarmSentence(alarm)}`);
      }
    }
    for (const row of ward.index.values()) {
      const isShown = ward.beds.has(row.bed);
      if (row.audible) present.set(`${row.bed}//${row.audible}`, isShown ? "" : `Bed ${row.bed}: alarm of ${row.audible} priority`);
    }
    const fresh = [...present].filter(([key, words]) => words && !this.told.has(key)).map(([, words]) => words);
    this.told = new Map([...[...this.told].slice(-MOST_KNOWN), ...present]);
    if (!fresh.length) return;
    const more = fresh.length > MOST_AT_ONCE ? `. And ${fresh.length - MOST_AT_ONCE} more alarms` : "";
    this.say(`${fresh.slice(0, MOST_AT_ONCE).join(". ")}${more}`);
  }

  /** Tell something at once. */
  say(text) {
    // The same words twice are no change to a region, and would not be read
    setText(this.alert, this.alert.textContent === text ? `${text}.` : text);
  }

  /** Tell something when the reader is idle. */
  mention(text) {
    setText(this.polite, text);
  }

  /** Tell the rate of the watched bed, if it has changed and the last one was not just told. */
  tellRate(bed, rate) {
    const nowS = performance.now() / 1000;
    const changed = this.rate === null || rate === null || Math.abs(rate - this.rate) >= RATE_CHANGE;
    if (rate === this.rate || !changed || nowS - this.rateToldS < RATE_PAUSE_S) return;
    [this.rate, this.rateToldS] = [rate, nowS];
    this.mention(rate === null ? `Bed ${bed.bed}: no heart rate` : `Bed ${bed.bed}: heart rate ${Math.round(rate)}`);
  }

  /** Tell that the connection is lost or back. */
  tellConnection(isUp, silenceS) {
    this.say(isUp ? "Connected to the monitor again." : `No connection to the monitor for ${ageText(silenceS)}: what you see is old.`);
  }
}
