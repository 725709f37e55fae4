/** The alarms of the watched bed: those that stand, as banners; the last ones as a list, each with its strip. */

import { AgeMark, alarmClasses, alarmLabel, holdMarks, markElements, pausedWords } from "./alarm_marks.js";
import { make, renderIfChanged, setText } from "./dom.js";
import { drawStrip } from "./ecg_paper.js";
import { readAlarm } from "./protocol.js";
import { fetchOfBed } from "./requests.js";
import { ageText, clockText, isSilent, momentText, phaseWords } from "./words.js";

const STRIP_HEIGHT = 150;
const STRIP_MILLIMETRE = 3.4;
/** A strip is whole some seconds after its alarm: when it is asked for, how often, and how long between. */
const STRIP_AFTER_S = 12;
const MOST_TRIES = 6;
const TRY_MS = 3000;

/** The alarms that stand, the most urgent first, above the traces. */
export class AlarmBanners {
  constructor() {
    this.list = make("ul", { class: "banners", "aria-label": "Alarms that stand" });
    this.marks = make("div", { class: "bed-marks" });
    this.element = make("div", { class: "bed-alarms" }, this.list, this.marks);
    this.ages = [];
    this.quiet = null;
  }

  update(bed, ward) {
    const nowS = ward.now();
    const key = JSON.stringify(bed.alarms.map((alarm) => [alarm.key, alarm.phase, alarm.priority, alarm.text]));
    renderIfChanged(this.list, key, () => this.#build(bed.alarms));
    if (this.quiet) setText(this.quiet, pausedWords(bed, nowS) || (isSilent(bed) ? "not known: no data" : "no alarm"));
    bed.alarms.forEach((alarm, i) => this.ages[i].update(alarm, nowS));
    const marks = holdMarks(bed, nowS, true);
    renderIfChanged(this.marks, JSON.stringify(marks), () => markElements(marks));
  }

  #build(alarms) {
    this.ages = alarms.map(() => new AgeMark());
    this.quiet = null;
    if (!alarms.length) return [(this.quiet = make("li", { class: "alarm quiet" }))];
    return alarms.map((alarm, i) =>
      make("li", { class: alarmClasses(alarm) },
        make("b", { text: alarmLabel(alarm) }),
        make("span", { class: "reason", text: [alarm.text, alarm.phase === "over" ? "" : phaseWords(alarm)].filter(Boolean).join(" · ") }),
        this.ages[i].element,
      ),
    );
  }
}

/** The last alarms, the newest first; a click shows the strip of one. */
export class AlarmList {
  /** @param {function(): Object} look colours and doubt of the strip */
  constructor(look) {
    this.look = look;
    this.body = make("ul", { class: "alarm-list" });
    this.canvas = make("canvas", { role: "img" });
    this.caption = make("p", { class: "strip-caption" });
    this.scroll = make("div", { class: "strip-scroll", tabindex: "0", hidden: true }, this.canvas);
    this.element = make("section", { class: "panel alarms" }, make("h2", { text: "Last alarms" }), this.body);
    this.shown = this.strip = this.past = this.standing = null;
  }

  /** Forget the strip, as when another bed is watched. */
  reset() {
    this.shown = this.strip = this.past = this.standing = null;
    this.body.renderedKey = null;
    this.scroll.hidden = true;
    setText(this.caption, "");
  }

  update(bed, ward) {
    const standing = JSON.stringify([bed.bed, bed.alarms.map((alarm) => [alarm.key, alarm.phase])]);
    if (standing !== this.standing) {
      this.standing = standing;
      this.#read(bed);
    }
    const alarms = this.past ?? bed.lastAlarms;
    const key = JSON.stringify([bed.bed, isSilent(bed), alarms.map((alarm) => [alarm.key, alarm.phase, alarm.endedAt, alarm.acknowledgedAt, alarm.by])]);
    renderIfChanged(this.body, key, () =>
      alarms.length ? alarms.map((alarm) => this.#row(alarm, bed, ward)) : [make("li", { class: "none", text: "no alarm so far" })],
    );
    this.#putStrip();
  }

  /** Put the strip under the alarm that it belongs to. */
  #putStrip() {
    const row = [...this.body.querySelectorAll("button")].find((button) => button.dataset.key === this.shown);
    if (row && this.scroll.parentElement !== row.parentElement) row.parentElement.append(this.caption, this.scroll);
  }

  /** Read the alarms of the past; what stands says when there is something new. */
  async #read(bed) {
    const asked = this.standing;
    try {
      const said = await fetchOfBed(bed.id, "alarms");
      if (asked === this.standing) this.past = said.alarms.map(readAlarm);
    } catch {
      // The next change of an alarm asks again; until then the list of the watched bed stands
      if (asked === this.standing) this.past = null;
    }
  }

  /** Draw the strip anew, as in other colours. */
  redraw() {
    if (!this.strip) return;
    drawStrip(this.canvas, this.strip, { ...this.look(), millimetre: STRIP_MILLIMETRE, height: STRIP_HEIGHT });
  }

  #row(alarm, bed, ward) {
    const nowS = ward.now();
    const standing = bed.alarms.find((one) => one.key === alarm.key);
    const seen = alarm.acknowledgedAt && alarm.since ? `seen after ${ageText(alarm.acknowledgedAt - alarm.since)}${alarm.by ? ` by ${alarm.by}` : ""}` : "";
    const until = alarm.phase === "over" || alarm.endedAt ? `over${alarm.endedAt ? ` at ${clockText(alarm.endedAt)}` : ""}` : standing?.asOf ? `as of ${clockText(standing.asOf)}` : "goes on";
    const button = make("button", { type: "button", class: "alarm-row", "data-key": alarm.key, "aria-pressed": String(this.shown === alarm.key), onclick: () => this.#show(alarm, bed, ward) },
      make("time", { text: alarm.since ? momentText(alarm.since, nowS) : "--" }),
      make("b", { class: `text-${alarm.priority}`, text: alarmLabel(alarm) }),
      make("span", { class: "course", text: [until, seen].filter(Boolean).join(" · ") }),
    );
    return make("li", {}, button);
  }

  async #show(alarm, bed, ward) {
    this.shown = alarm.key;
    for (const row of this.body.querySelectorAll("button")) row.setAttribute("aria-pressed", String(row.dataset.key === alarm.key));
    this.#putStrip();
    setText(this.caption, `${alarmLabel(alarm)}: the strip is being read …`);
    this.scroll.hidden = true;
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const earlyS = STRIP_AFTER_S - (ward.now() - (alarm.since ?? 0));
      const trouble = earlyS > 0 ? null : await this.#readStrip(alarm, bed);
      if (this.shown !== alarm.key || (earlyS <= 0 && !trouble)) return;
      const isEarly = earlyS > 0 || trouble.status === 404;
      setText(this.caption, `${alarmLabel(alarm)}: ${isEarly ? "the strip ends 10 s after the alarm, and is not yet whole" : trouble.message}`);
      if (!isEarly) return;
      await new Promise((resolve) => setTimeout(resolve, Math.max(TRY_MS, 1000 * earlyS)));
      if (this.shown !== alarm.key) return;
    }
    setText(this.caption, `${alarmLabel(alarm)}: there is no strip`);
  }

  /** Read and show the strip of an alarm. Returns what went wrong, null if nothing did. */
  async #readStrip(alarm, bed) {
    try {
      const strip = readStrip(await fetchOfBed(bed.id, `strips/${encodeURIComponent(alarm.key)}`));
      if (this.shown !== alarm.key) return null;
      this.strip = strip;
      this.scroll.hidden = false;
      this.redraw();
      this.#describe(alarm, strip);
      this.scroll.scrollIntoView({ block: "nearest" });
      return null;
    } catch (error) {
      return error;
    }
  }

  #describe(alarm, strip) {
    setText(this.caption, `${alarmLabel(alarm)} · ${alarm.text} · lead ${strip.lead} · 25 mm/s, 200 ms to the large box`);
    const letters = strip.beats.map((beat) => beat.label).join(" ");
    this.canvas.setAttribute("aria-label", `Strip of ${alarm.condition}, beats ${letters || "not known"}`);
    const middle = (strip.announced - strip.first) * (25 * STRIP_MILLIMETRE) / 125;
    this.scroll.scrollLeft = Math.max(0, middle - this.scroll.clientWidth * 0.7);
  }
}

function readStrip({ lead, first, counts, announced, beats }) {
  return { lead, first, counts, announced, beats };
}
