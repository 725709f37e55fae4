/** What is known of the watched bed in figures and words: rate, rhythm, classes, limits, samples, events. */

import { make, renderIfChanged, setAttribute, setShown, setText } from "./dom.js";
import { CLASSES, CLASS_NAMES, behindWords, clockText, countText, figureText, isSilent, signalWords } from "./words.js";

/** Events that are listed. */
const MOST_EVENTS = 40;

/** Build a panel with a heading. */
export function panel(title, ...children) {
  return make("section", { class: "panel" }, make("h2", { text: title }), ...children);
}

/** Heart rate, rhythm, signal and variability. */
export class VitalsPanel {
  constructor() {
    this.rate = make("div", { class: "big-rate" });
    this.rhythm = make("div", { class: "rhythm" });
    this.signal = make("div", { class: "signal" });
    this.figures = make("dl", { class: "figures" });
    const rate = make("div", { class: "rate-block" }, this.rate, make("span", { class: "unit", text: "/min" }));
    this.element = make("section", { class: "panel vitals" }, make("h2", { text: "Heart rate" }), rate, this.rhythm, this.signal, this.figures);
  }

  update(bed, ward) {
    const rate = ward.shownRate(bed);
    setText(this.rate, figureText(rate));
    this.rate.classList.toggle("none", rate === null);
    const [words, kind] = rhythmWords(bed);
    setText(this.rhythm, words);
    setAttribute(this.rhythm, "class", `rhythm ${kind}`);
    const signal = isSilent(bed) ? `${signalWords(bed)}: signal not known` : [signalWords(bed), behindWords(bed), bed.isUncalibrated ? "uncalibrated" : ""].filter(Boolean).join(" · ");
    setText(this.signal, signal);
    this.signal.dataset.word = signal.split(" ").at(-1);
    const shown = rate === null ? [null, null, null] : [bed.rrMs, bed.rmssdMs, bed.sdnnMs];
    const rows = ["RR", "RMSSD", "SDNN"].map((name, i) => [name, `${figureText(shown[i])} ms`]);
    renderIfChanged(this.figures, JSON.stringify(rows), () => rowElements(rows));
  }
}

/** Say the rhythm of a bed, and how it is shown: in the colour of its alarm, if it has one. */
function rhythmWords(bed) {
  if (isSilent(bed)) return ["not known: no data", ""];
  if (!bed.rhythm) return [bed.rhythmWords, ""];
  const alarm = bed.alarms.find((one) => one.phase !== "over" && (one.name === bed.rhythm || one.condition === bed.rhythm));
  return [bed.rhythm, `named ${alarm ? `text-${alarm.priority}` : ""}`];
}

/** Counts of the classes as bars. */
export class ClassesPanel {
  constructor() {
    this.body = make("tbody");
    const head = make("thead", {}, make("tr", {}, ...["class", "", "beats", "share"].map((text) => make("th", { scope: "col", text }))));
    this.element = panel("Beats", make("table", { class: "classes" }, head, this.body));
  }

  update(bed) {
    const total = bed.counts.reduce((sum, count) => sum + count, 0);
    renderIfChanged(this.body, `${bed.bed} ${bed.counts}`, () =>
      CLASSES.map((name, i) => {
        const count = bed.counts[i] ?? 0;
        const share = total ? count / total : 0;
        const bar = make("span", { class: `bar class-${name}` });
        bar.style.width = `${100 * share}%`;
        return make("tr", { class: count ? "" : "none" },
          make("th", { scope: "row", class: `class-${name}`, text: name, title: CLASS_NAMES[name] }),
          make("td", { class: "bar-room" }, bar),
          make("td", { class: "number", text: countText(count) }),
          make("td", { class: "number", text: total ? `${(100 * share).toFixed(1)}%` : "--" }),
        );
      }),
    );
  }
}

/** Samples, delays, limits in force, and what watches the bed. */
export class AboutPanel {
  /** @param {function()} change lets a person change the limits of the bed */
  constructor(change) {
    this.samples = make("dl", { class: "figures wide" });
    this.limits = make("dl", { class: "figures wide" });
    this.change = make("button", { type: "button", class: "change-limits", text: "Change", "aria-label": "Change the limits", "aria-keyshortcuts": "L", hidden: true, onclick: change });
    const head = make("div", { class: "panel-head" }, make("h2", { text: "Limits in force" }), make("div", { class: "choices" }, this.change));
    this.limitsPanel = make("section", { class: "panel" }, head, this.limits);
    this.samplesPanel = panel("Samples and delay", this.samples);
  }

  /** Offer to change the limits, if the monitor does; `isAllowed`: here and now. */
  offer(isOffered, isAllowed) {
    setShown(this.change, isOffered);
    this.change.disabled = !isAllowed;
  }

  update(bed, ward) {
    const rows = [...ledgerRows(bed), ...delayRows(bed), ["net", ward.weights || "--"], ["run", bed.run.slice(0, 8) || "--"]];
    renderIfChanged(this.samples, JSON.stringify(rows), () => rowElements(rows));
    const limits = limitRows(bed);
    this.limitsPanel.hidden = !limits.length;
    renderIfChanged(this.limits, JSON.stringify(limits), () => rowElements(limits));
  }
}

/** Events of the bed, of link and recording, the newest first. */
export class EventsPanel {
  constructor() {
    this.list = make("ol", { class: "events" });
    this.element = panel("Events", this.list);
  }

  update(bed, ward) {
    const events = ward.events.filter((event) => !event.bed || event.bed === bed.bed).slice(-MOST_EVENTS).reverse();
    renderIfChanged(this.list, JSON.stringify(events), () =>
      events.length
        ? events.map((event) => make("li", { class: "event" },
            make("time", { text: clockText(Date.parse(event.time) / 1000) }),
            make("span", { class: "kind", text: event.kind }),
            make("span", { class: "event-text", dir: "auto", text: event.text }),
          ))
        : [make("li", { class: "none", text: "nothing to report" })],
    );
  }
}

function ledgerRows(bed) {
  if (!bed.ledger) return [];
  const { sent, analysed, missing, open } = bed.ledger;
  const rows = [["sent", countText(sent)], ["= analysed", countText(analysed)], ["+ missing", countText(missing)]];
  if (open) rows.push(["+ under way", countText(open)]);
  if (bed.gaps !== null) rows.push(["gaps", bed.gaps ? `${countText(bed.gaps)} (${(bed.missing / 125).toFixed(1)} s)` : "none"]);
  return rows;
}

function delayRows(bed) {
  if (!bed.latency) return [["delay", "--"]];
  const { algorithmic_ms: algorithm, added_p50_ms: added, added_p99_ms: worst } = bed.latency;
  return [["delay", `${Math.round(algorithm)} ms algorithm`], ["added", `${added.toFixed(1)} ms, p99 ${worst.toFixed(1)}`]];
}

function limitRows(bed) {
  return (bed.limits ?? []).map(({ name, low, high, unit, own }) => [name, `${rangeText(low, high)} ${unit}`, own ? "of this bed" : ""]);
}

function rangeText(low, high) {
  const isKnown = (limit) => limit !== null && limit !== undefined;
  if (isKnown(low) && isKnown(high)) return `${low} to ${high}`;
  return isKnown(low) ? `from ${low}` : isKnown(high) ? `up to ${high}` : "--";
}

function rowElements(rows) {
  return rows.flatMap(([name, value, note]) => [make("dt", { text: name }), make("dd", {}, value, note ? make("b", { class: "own", text: ` ${note}` }) : "")]);
}
