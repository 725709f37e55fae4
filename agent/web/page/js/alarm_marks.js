/** Alarms as marks on a card or a page: mark, name, phase and age of the most urgent one, and what holds them back. */

import { make, setText } from "./dom.js";
import { PRIORITY_MARKS, ageText, clockText, countdownText, phaseWords } from "./words.js";

/** Return the key, mark and name of an alarm, such as "!!! VT". */
export function alarmLabel(alarm) {
  return `${PRIORITY_MARKS[alarm.priority]} ${alarm.name}`;
}

/** Return the class names that colour an alarm by priority and phase. */
export function alarmClasses(alarm) {
  return `alarm ${alarm.priority} ${alarm.phase}`;
}

/** Return for how long an alarm has lasted, in seconds. */
export function alarmAgeS(alarm, nowS) {
  return alarm.since === null ? alarm.ageS : nowS - alarm.since;
}

/** Return since when an alarm stands, and for how long, in words; one that is over, or no longer known, does not grow older. */
export function sinceWords(alarm, nowS) {
  const run = alarm.isOfEarlierRun ? "earlier run" : "";
  if (alarm.phase === "over") return { since: "", age: [`over${alarm.endedAt ? ` ${clockText(alarm.endedAt)}` : ""}`, run].filter(Boolean).join(" · ") };
  if (run || alarm.asOf) return { since: alarm.since === null ? "" : `since ${clockText(alarm.since)}`, age: run || `as of ${clockText(alarm.asOf)}` };
  return { since: alarm.since === null ? "" : `since ${clockText(alarm.since)}`, age: ageText(alarmAgeS(alarm, nowS)) };
}

/** The age of an alarm as an element of its own: it changes each second, what is beside it does not. */
export class AgeMark {
  constructor() {
    this.since = make("span", { class: "since" });
    this.age = make("span");
    this.element = make("span", { class: "age" }, this.since, this.age);
  }

  /** Show it; an alarm that is null has none. */
  update(alarm, nowS) {
    const words = alarm ? sinceWords(alarm, nowS) : { since: "", age: "" };
    setText(this.since, words.since ? `${words.since} · ` : "");
    setText(this.age, words.age);
  }
}

/**
 * Return the marks of a bed that say that its alarms are held back: silenced, paused, turned off.
 * @param {boolean} inFull whether each alarm that is off is named, else only one alone
 */
export function holdMarks(bed, nowS, inFull = false) {
  const marks = [];
  if (bed.pausedUntil > nowS) marks.push({ kind: "paused", text: `ALARMS PAUSED ${countdownText(bed.pausedUntil - nowS)}` });
  if (bed.silencedUntil > nowS) marks.push({ kind: "silenced", text: `silenced ${countdownText(bed.silencedUntil - nowS)}` });
  if (bed.off.length) marks.push({ kind: "off", text: bed.off.length === 1 || inFull ? `off: ${bed.off.join(", ")}` : `${bed.off.length} alarms off` });
  return marks;
}

/** Build the marks as elements. */
export function markElements(marks) {
  return marks.map((mark) => make("span", { class: `mark ${mark.kind}`, text: mark.text }));
}

/** Say why no alarm of a bed is shown: "" unless its alarms are paused. */
export function pausedWords(bed, nowS) {
  return bed.pausedUntil > nowS ? `alarms paused ${countdownText(bed.pausedUntil - nowS)}: not shown` : "";
}

/** Say an alarm in a sentence, for a screen reader. */
export function alarmSentence(alarm) {
  const phase = phaseWords(alarm);
  return `${alarm.priority} priority: ${alarm.condition}${alarm.text ? `, ${alarm.text}` : ""}${phase ? `, ${phase}` : ""}`;
}
