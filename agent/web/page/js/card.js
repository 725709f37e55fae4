/** The card of one bed on the wall: name and patient, rate, the most urgent alarm or the rhythm, and the live wave. */

import { AgeMark, alarmClasses, alarmLabel, alarmSentence, holdMarks, markElements, sinceWords } from "./alarm_marks.js";
import { make, renderIfChanged, setAttribute, setShown, setText } from "./dom.js";
import { Sweep } from "./sweep.js";
import { fitWindow } from "./voltage_window.js";
import { SILENT_STATES, ageText, behindWords, clockText, figureText, phaseWords, qualityWord, signalWords, stateWords } from "./words.js";
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
    this.age = new AgeMark();
    this.foot = make("div", { class: "card-marks" });
    this.loss = make("div", { class: "loss", hidden: true });
    this.canvas = make("canvas", { "aria-hidden": "true" });
    const title = make("span", { class: "bed-name", dir: "auto", text: name });
    const head = make("div", { class: "card-head" }, make("div", { class: "names" }, title, this.patient), this.rate);
    const trace = make("div", { class: "card-trace" }, this.canvas, this.loss, this.foot);
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
    const alarm = bed.alarms[0];
    const rate = figureText(ward.shownRate(bed));
    setText(this.patient, [bed.patient, bed.place].filter(Boolean).join(" · "));
    setText(this.rate, rate);
    setAttribute(this.rate, "class", rate === "--" ? "rate none" : "rate");
    setAttribute(this.link, "class", `card state-${bed.state.replace(" ", "-")}${alarm ? ` has-alarm ${alarm.priority} ${alarm.phase}` : ""}`);
    this.#updateLine(bed, alarm, nowS);
    this.#updateLoss(bed, nowS);
    const marks = holdMarks(bed, nowS);
    renderIfChanged(this.foot, JSON.stringify(marks), () => markElements(marks));
    setAttribute(this.link, "aria-label", cardSentence(bed, rate, marks, nowS));
  }

  #updateLine(bed, alarm, nowS) {
    const more = bed.alarms.length > 1 ? `+${bed.alarms.length - 1}` : "";
    const parts = alarm
      ? [alarmClasses(alarm), alarmLabel(alarm), [phaseWords(alarm), more].filter(Boolean).join(" "), alarm.text]
      : [`alarm quiet ${bed.state === "ok" ? "" : "trouble"}`, quietWords(bed), "", ""];
    renderIfChanged(this.line, JSON.stringify(parts), () => {
      const [classes, label, tail, reason] = parts;
      const words = [["b", "label", label], ["span", "tail", tail], ["span", "reason", reason]];
      return [make("div", { class: classes }, ...words.map(([tag, kind, text]) => make(tag, { class: kind, text })), this.age.element)];
    });
    this.age.update(alarm ?? null, nowS, quietSignal(bed));
  }

  #updateLoss(bed, nowS) {
    const words = lossWords(bed, nowS);
    setShown(this.loss, words !== "");
    setText(this.loss, words);
  }
}

/** Say that no data come from a bed, for how long, and when it was heard last; "" if they do. */
export function lossWords(bed, nowS) {
  if (!SILENT_STATES.has(bed.state)) return "";
  if (bed.state === "refused") return `REFUSED${bed.refusal ? `: ${bed.refusal}` : ""}`;
  if (!bed.heardAt) return stateWords(bed.state);
  const rate = bed.lastRate === null ? "" : ` · rate ${figureText(bed.lastRate)} was ${ageText(bed.lastRateAgeS ?? 0)} ago`;
  return `${stateWords(bed.state)} for ${ageText(nowS - bed.heardAt)}, last heard ${clockText(bed.heardAt)}${rate}`;
}

function quietWords(bed) {
  if (bed.state === "ok") return bed.rhythm || bed.lead;
  if (SILENT_STATES.has(bed.state)) return "";
  return stateWords(bed.state);
}

function quietSignal(bed) {
  const behind = behindWords(bed);
  if (behind) return behind;
  const word = bed.state === "ok" ? qualityWord(bed.quality) : "";
  return word && word !== "good" ? `signal ${word}` : "";
}

function cardSentence(bed, rate, marks, nowS) {
  const alarms = bed.alarms.map(alarmSentence);
  const parts = [
    `Bed ${bed.bed}`,
    bed.patient,
    rate === "--" ? "no heart rate" : `heart rate ${rate}`,
    bed.rhythm,
    alarms.length ? `${alarms.join("; ")}, ${sinceWords(bed.alarms[0], nowS).since}` : "no alarm",
    signalWords(bed),
    ...marks.filter((mark) => mark.kind !== "silenced").map((mark) => mark.text.replace(/ \d+:\d+$/, "")),
    bed.silencedUntil > nowS ? "silenced" : "",
  ];
  return parts.filter(Boolean).join(", ");
}
