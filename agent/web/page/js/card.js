/** The card of one bed on the wall: name and patient, rate, the most urgent alarm or the rhythm, and the live wave. */

import { AgeMark, alarmClasses, alarmLabel, alarmSentence, holdMarks, markElements, pausedWords, sinceWords } from "./alarm_marks.js";
import { make, renderIfChanged, setAttribute, setShown, setText } from "./dom.js";
import { Sweep } from "./sweep.js";
import { fitWindow } from "./voltage_window.js";
import { PRIORITIES, ageText, bedLabel, behindWords, clockText, figureText, fleetWords, isSilent, phaseWords, qualityWord, signalWords, stateWords } from "./words.js";
import { FS } from "./wave_ring.js";

/** Pixels of a second of signal on a card, and the least seconds across it. */
const PIXELS_PER_SECOND = 52;
const LEAST_SECONDS = 3;
/** Height in pixels of a card's wave from which there is a lane for letters. */
const LANE_FROM = 34;
const LEAST_LANE = 13;
const MOST_LANE = 22;

/** Return the address within the page of a bed's own view. */
export function bedHash(name) {
  return `#bed/${encodeURIComponent(name)}`;
}

export class Card {
  /** @param {string} name of the bed @param {Object} look colours and doubt of the traces, shared by all cards */
  constructor(name, look) {
    this.name = name;
    this.look = { ...look, seconds: 6, lane: 0, allLetters: false };
    this.rate = make("span", { class: "rate" });
    this.patient = make("span", { class: "patient", dir: "auto" });
    this.line = make("div", { class: "card-line" });
    this.ages = [new AgeMark(), new AgeMark()];
    this.marks = make("span", { class: "card-marks" });
    this.signal = make("span", { class: "card-signal" });
    const hint = make("span", { class: "card-hint", "aria-hidden": "true", text: "k acknowledge · m silence · ? help" });
    this.loss = make("div", { class: "loss", hidden: true });
    this.canvas = make("canvas", { "aria-hidden": "true" });
    const title = make("span", { class: "bed-name", dir: "auto", text: bedLabel(name) });
    const head = make("div", { class: "card-head" }, make("div", { class: "names" }, title, this.patient, make("div", { class: "card-sub" }, this.marks, this.signal)), this.rate);
    const trace = make("div", { class: "card-trace" }, this.canvas, this.loss, hint);
    this.link = make("a", { class: "card", href: bedHash(name), tabindex: "-1" }, head, this.line, trace);
    this.element = make("li", { class: "card-cell" }, this.link);
    this.trace = trace;
    this.sweep = null;
    this.wave = null;
    this.window = null;
    this.isVisible = true;
  }

  /** Take the size of the trace, after the card or the window has changed. */
  measure() {
    const { clientWidth: width, clientHeight: height } = this.trace;
    if (width === this.measuredWidth && height === this.measuredHeight) return;
    [this.measuredWidth, this.measuredHeight] = [width, height];
    this.look.seconds = Math.max(LEAST_SECONDS, Math.round(width / PIXELS_PER_SECOND));
    this.look.lane = height < LANE_FROM ? 0 : Math.min(MOST_LANE, Math.max(LEAST_LANE, Math.round(height / 8)));
    this.sweep?.resize(width, height);
  }

  /** Draw what has come of the wave. */
  draw(wave, nowS) {
    if (wave !== this.wave) {
      this.wave = wave;
      this.window = null;
      this.sweep = new Sweep(this.canvas, wave.ring, this.look);
      this.sweep.resize(this.measuredWidth ?? 0, this.measuredHeight ?? 0);
    }
    this.sweep.draw(wave.playout.advance(nowS));
  }

  /** Choose the millivolts of the trace anew if the wave no longer fits. */
  refit() {
    if (!this.wave) return;
    this.window = fitWindow(this.wave.ring, this.look.seconds * FS, this.window);
    this.sweep.setWindow(this.window);
  }

  /** Take other colours. */
  recolour(look) {
    Object.assign(this.look, look);
    this.sweep?.invalidate();
  }

  /** Show the state of the bed. */
  update(bed, ward) {
    const nowS = ward.now();
    const [alarm, past] = shownAlarms(bed);
    const rate = figureText(ward.shownRate(bed));
    setText(this.patient, [bed.patient, bed.place].filter(Boolean).join(" · "));
    setText(this.rate, rate);
    setAttribute(this.rate, "class", rate === "--" ? "rate none" : "rate");
    setAttribute(this.link, "class", `card state-${bed.state.replace(" ", "-")}${alarm ? ` has-alarm ${alarm.priority} ${alarm.phase}` : ""}`);
    this.#updateLines(bed, alarm, past, nowS);
    this.#updateLoss(bed, nowS);
    const marks = holdMarks(bed, nowS);
    renderIfChanged(this.marks, JSON.stringify(marks), () => markElements(marks));
    const signal = [alarm && !isSilent(bed) && bed.rhythm !== alarm.name ? bed.rhythm : "", quietSignal(bed)].filter(Boolean).join(" · ");
    setText(this.signal, signal);
    setAttribute(this.signal, "class", `card-signal ${signal.endsWith("good") ? "" : "trouble"}`);
    setAttribute(this.link, "aria-label", cardSentence(bed, rate, marks, nowS));
  }

  /**
   * Show an alarm, or in words that there is none, and on a line of its own one that is over and waits for a person. A bed
   * from which nothing comes says so in place of its trace, and once is enough.
   */
  #updateLines(bed, alarm, past, nowS) {
    const others = bed.alarms.length - (alarm ? 1 : 0) - (past ? 1 : 0);
    const more = others ? `+${others}` : "";
    const phase = alarm && alarm.phase !== "over" ? phaseWords(alarm) : "";
    const lines = [];
    if (alarm) lines.push([alarmClasses(alarm), alarmLabel(alarm), [phase, more].filter(Boolean).join(" "), alarm.text]);
    else if (!isSilent(bed)) lines.push([`alarm quiet ${bed.state === "ok" ? "" : "trouble"}`, quietWords(bed, nowS), "", ""]);
    if (past) lines.push([alarmClasses(past), alarmLabel(past), alarm ? "" : more, ""]);
    renderIfChanged(this.line, JSON.stringify(lines), () => lines.map((parts, i) => lineElement(parts, this.ages[i])));
    lines.forEach((_, i) => this.ages[i].update([alarm, past].filter(Boolean)[i] ?? null, nowS));
  }

  #updateLoss(bed, nowS) {
    showPlace(this.loss, bed, nowS);
  }
}

/** Show in the place of a trace why there is none: nothing comes, or the bed is read from the store of a fleet. */
export function showPlace(element, bed, nowS) {
  const loss = lossWords(bed, nowS);
  const words = loss || fleetWords(bed.fleet);
  setShown(element, words !== "");
  setText(element, words);
  element.classList.toggle("calm", loss === "");
}

/** Say that no data come from a bed, for how long, and when it was heard last; "" if they do. */
export function lossWords(bed, nowS) {
  if (!isSilent(bed)) return "";
  if (bed.state === "refused") return `REFUSED${bed.refusal ? `: ${bed.refusal}` : ""}`;
  if (!bed.heardAt) return stateWords(bed.state);
  const rate = bed.lastRate === null ? "" : ` · rate ${figureText(bed.lastRate)} was ${ageText(bed.lastRateAgeS ?? 0)} ago`;
  return `${stateWords(bed.state)} for ${ageText(nowS - bed.heardAt)}, last heard ${clockText(bed.heardAt)}${rate}`;
}

function lineElement([classes, label, tail, reason], age) {
  const words = [["b", "label", label], ["span", "tail", tail], ["span", "reason", reason]];
  return make("div", { class: classes }, ...words.map(([tag, kind, text]) => make(tag, { class: kind, text })), age.element);
}

/**
 * Return the two alarms that a card shows: the most urgent one that goes on, and the most urgent one that is over, where
 * nobody has acknowledged it and none of its priority is new. Neither hides the other.
 */
function shownAlarms(bed) {
  const lasting = bed.alarms.find((alarm) => alarm.phase !== "over");
  const over = bed.alarms.find((alarm) => alarm.phase === "over");
  if (!lasting && !isSilent(bed)) return [over, undefined];
  const rank = (alarm) => PRIORITIES.indexOf(alarm.priority);
  const isOutdone = lasting && over && lasting.phase === "active" && rank(lasting) <= rank(over);
  return [lasting, isOutdone ? undefined : over];
}

/** Say the rhythm where no alarm is shown. */
function quietWords(bed, nowS) {
  if (bed.state !== "ok") return stateWords(bed.state);
  const words = bed.rhythm || pausedWords(bed, nowS) || bed.rhythmWords;
  return words.startsWith("not ") ? `rhythm ${words}` : words;
}

function quietSignal(bed) {
  if (isSilent(bed)) return "";
  const word = bed.state === "ok" ? qualityWord(bed.quality) : "";
  return [behindWords(bed), bed.state === "ok" ? (word ? `signal ${word}` : "signal present") : stateWords(bed.state)].filter(Boolean).join(" · ");
}

function cardSentence(bed, rate, marks, nowS) {
  const alarms = bed.alarms.map((alarm) => {
    const { since, age } = sinceWords(alarm, nowS);
    return `${alarmSentence(alarm)}, ${since || age}`;
  });
  const isPaused = bed.pausedUntil > nowS;
  const parts = [
    `Bed ${bed.bed}`,
    bed.patient,
    rate === "--" ? "no heart rate" : `heart rate ${rate}`,
    isSilent(bed) ? "" : bed.rhythm,
    alarms.length ? alarms.join("; ") : isPaused ? "alarms paused: not shown" : isSilent(bed) ? "" : "no alarm",
    [signalWords(bed), behindWords(bed)].filter(Boolean).join(", "),
    ...marks.filter((mark) => mark.kind !== "silenced" && (mark.kind !== "paused" || alarms.length)).map((mark) => mark.text.replace(/ \d+:\d+$/, "")),
    bed.silencedUntil > nowS ? "silenced" : "",
  ];
  return parts.filter(Boolean).join(", ");
}
