/** One bed in full: its leads, figures, alarms, trends, and what may be done about its alarms. */

import { DEEDS, ENDS } from "./actions.js";
import { AlarmBanners, AlarmList } from "./alarm_list.js";
import { AboutPanel, ClassesPanel, EventsPanel, VitalsPanel } from "./bed_panels.js";
import { showPlace } from "./card.js";
import { make, setAttribute, setShown, setText } from "./dom.js";
import { GAINS, LeadTrace, SPEEDS } from "./lead_trace.js";
import { Trends } from "./trends.js";
import { STARTING_WORDS, bedLabel, isSilent } from "./words.js";

/** Most leads that are drawn. */
const MOST_LEADS = 3;
const REFIT_FRAMES = 30;

export class BedPage {
  /**
   * @param {HTMLElement} element that holds the page
   * @param {import("./ward.js").Ward} ward
   * @param {import("./actions.js").Actions} actions
   * @param {function(): Object} look colours and doubt of the traces
   */
  constructor(element, ward, actions, look) {
    Object.assign(this, { element, ward, actions, look });
    this.name = null;
    this.traces = [];
    this.frame = 0;
    this.banners = new AlarmBanners();
    this.vitals = new VitalsPanel();
    this.classes = new ClassesPanel();
    this.about = new AboutPanel(() => actions.changeLimits(this.name));
    this.events = new EventsPanel();
    this.alarms = new AlarmList(look);
    this.trends = new Trends();
    this.#build();
  }

  /** Show a bed; null: none. */
  show(name) {
    if (name === this.name) return;
    this.name = name;
    for (const trace of this.traces) trace.element.remove();
    this.traces = [];
    this.alarms.reset();
    this.trends.watch(null);
    setText(this.title, name === null ? "" : bedLabel(name));
    if (name !== null) this.update();
  }

  /** Show the bed as it now is. */
  update() {
    if (this.name === null) return;
    const { ward } = this;
    const id = ward.idOf(this.name);
    const bed = ward.beds.get(this.name);
    setShown(this.body, bed !== undefined);
    setShown(this.absent, bed === undefined);
    setShown(this.deedRoom, bed !== undefined);
    setText(this.absent, this.#absentWords(id));
    if (!bed) {
      setText(this.patient, "");
      return;
    }
    this.trends.watch(bed.fleet ? null : id);
    setText(this.patient, [bed.patient, bed.place].filter(Boolean).join(" · "));
    showPlace(this.loss, bed, ward.now());
    setAttribute(this.leads, "class", `leads state-${bed.state.replace(" ", "-")}${bed.fleet ? " elsewhere" : ""}`);
    setShown(this.trends.element, !bed.fleet);
    for (const part of [this.banners, this.vitals, this.classes, this.about, this.events, this.alarms]) part.update(bed, ward);
    this.#updateDeeds(bed);
    this.#updateLeads(bed);
  }

  /** Draw what has come of the leads. */
  draw(nowS) {
    if (this.name === null) return;
    this.frame += 1;
    this.traces.forEach((trace, lead) => {
      trace.draw(this.ward.wave(this.name, lead, true), nowS);
      if (this.frame % REFIT_FRAMES === 5) trace.refit();
    });
  }

  /** Take other colours. */
  recolour() {
    for (const trace of this.traces) trace.redraw(this.look());
    this.alarms.redraw();
    if (this.name !== null) this.trends.draw();
  }

  /** Make the traces higher or lower: by steps of the gain; 0: as the wave needs it. */
  changeGain(by) {
    for (const trace of this.traces) {
      trace.gain = by === 0 ? null : GAINS[step(GAINS, trace.shownGain, by)];
      trace.redraw();
    }
    this.update();
  }

  /** Run the paper faster or slower. */
  changeSpeed(by) {
    for (const trace of this.traces) {
      trace.speed = SPEEDS[step(SPEEDS, trace.speed, by)];
      trace.redraw();
    }
    this.update();
  }

  /** Bring a part of the page into view, and give it the focus: the trends or the alarms. */
  reveal(part) {
    const { element } = part === "trends" ? this.trends : this.alarms;
    element.scrollIntoView({ block: "nearest" });
    const target = element.querySelector("button") ?? element;
    if (target === element) element.tabIndex = -1;
    target.focus({ preventScroll: true });
  }

  #build() {
    this.title = make("h1", { class: "bed-title", dir: "auto" });
    this.patient = make("p", { class: "bed-patient", dir: "auto" });
    this.deeds = make("div", { class: "deeds" });
    this.why = make("p", { class: "why", id: "why-not" });
    this.leads = make("div", { class: "leads" });
    this.loss = make("div", { class: "loss", hidden: true });
    this.absent = make("p", { class: "absent", hidden: true });
    const back = make("a", { class: "back button", href: "#ward", text: "‹ Ward" });
    const names = make("div", { class: "bed-names" }, this.title, this.patient);
    this.deedRoom = make("div", { class: "deed-room", hidden: true }, this.deeds, this.why);
    const top = make("div", { class: "bed-top" }, back, names, this.deedRoom);
    const traces = make("div", { class: "trace-room" }, this.leads, this.loss);
    const side = make("div", { class: "bed-side" }, this.vitals.element, this.classes.element);
    const past = make("div", { class: "low-column" }, this.alarms.element, this.events.element);
    const about = make("div", { class: "low-column" }, this.trends.element, this.about.limitsPanel, this.about.samplesPanel);
    const low = make("div", { class: "bed-low" }, past, about);
    this.body = make("div", { class: "bed-body" }, this.banners.element, traces, side, low);
    this.element.append(top, this.absent, this.body);
  }

  #absentWords(id) {
    if (this.ward.counts === null) return this.ward.isStarting() ? STARTING_WORDS : "";
    return id === undefined ? `There is no bed of this name now: ${this.name}` : "The bed is being fetched …";
  }

  #updateDeeds(bed) {
    const offered = (this.ward.hello?.actions ?? []).filter((deed) => DEEDS[deed]);
    if (this.deeds.children.length !== offered.length) {
      this.deeds.replaceChildren(...offered.map((deed) => make("button", { type: "button", class: `deed ${deed}`, "data-deed": deed, onclick: () => this.actions.act(deed, this.name) })));
    }
    const why = this.actions.whyNot();
    setText(this.why, why);
    setShown(this.why, why !== "");
    this.about.offer((this.ward.hello?.actions ?? []).includes("limits"), why === "");
    for (const button of this.deeds.children) {
      const deed = button.dataset.deed;
      const ends = (deed === "silence" && bed.silencedUntil > this.ward.now()) || (deed === "pause" && bed.pausedUntil > this.ward.now());
      setText(button, ends ? ENDS[deed] : DEEDS[deed].text);
      button.disabled = why !== "" || (deed === "acknowledge" && !bed.alarms.some((alarm) => alarm.phase !== "acknowledged"));
      setAttribute(button, "aria-describedby", why ? "why-not" : null);
      setAttribute(button, "aria-keyshortcuts", DEEDS[deed].key);
    }
  }

  #updateLeads(bed) {
    const names = [bed.lead, ...bed.otherLeads].slice(0, MOST_LEADS);
    while (this.traces.length > names.length) this.traces.pop().element.remove();
    while (this.traces.length < names.length) {
      const trace = new LeadTrace(this.traces.length === 0, this.look());
      this.traces.push(trace);
      this.leads.append(trace.element);
    }
    const qualities = new Map(bed.leads.map((lead) => [lead.lead, lead.quality]));
    names.forEach((name, i) => this.traces[i].update(name, qualities.get(name) ?? (i === 0 ? bed.quality : null), i === 0, isSilent(bed)));
  }
}

function step(steps, now, by) {
  return Math.min(steps.length - 1, Math.max(0, steps.indexOf(now) + by));
}
