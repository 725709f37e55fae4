/** The top of the page: alarms of the ward, link, recording, clock, and what is wrong in words. */

import { bedHash } from "./card.js";
import { make, renderIfChanged, setAttribute, setShown, setText } from "./dom.js";
import { PRIORITIES, PRIORITY_MARKS, ageText, bedLabel, bytesText, clockText, countText, zoneText } from "./words.js";

const TOKEN_WORDS = "The ward is not shown without the token of the monitor. It is in the file given with --web-token: ask who runs the monitor.";
const STORE_WORDS = { waiting: "waiting for the store", connected: "fleet", lost: "STORE AWAY" };
const LINK_WORDS = { waiting: "waiting for the device", connected: "link", lost: "LINK LOST" };

/** Build the counts of alarms, which are always live. */
export class WardCounts {
  constructor(element) {
    this.element = element;
  }

  /** Show the number of beds with alarms of each priority, silenced beds, and beds without data. */
  update(ward) {
    const { counts } = ward;
    const chips = counts ? countChips(counts, [...ward.index.values()]) : [];
    renderIfChanged(this.element, JSON.stringify(chips), () =>
      chips.map((chip) => make("span", { class: chip.kind }, `${chip.text} `, make("span", { class: "word", text: chip.word }), make("span", { class: "part", text: chip.part ?? "" }))),
    );
  }
}

/** Return the chips of the top: beds by their most urgent alarm, and how many of them have only such that are over. */
function countChips(counts, rows) {
  const chips = PRIORITIES.map((priority) => {
    const count = counts[priority] ?? 0;
    const over = counts.over?.[priority] ?? 0;
    const isWaiting = rows.some((row) => row.priority === priority && (row.silenced || row.audible === priority));
    const kind = `chip ${priority} ${!count ? "none" : isWaiting ? "active" : "acknowledged"}`;
    return { kind, text: `${PRIORITY_MARKS[priority]} ${count}`, word: priority, part: over ? ` (${over} over)` : "" };
  });
  for (const [key, word] of [["paused", "paused"], ["silenced", "silenced"], ["no_data", "no data"], ["no_monitor", "NO MONITOR"], ["store_away", "STORE AWAY"]]) {
    const count = counts[key] ?? 0;
    if (count) chips.push({ kind: `chip ${key.replace("_", "-")}`, text: String(count), word });
  }
  return chips;
}

/** Build the line that names the most urgent bed that is not on the screen. */
export function updateElsewhere(element, ward, shownNames) {
  const shown = new Set(shownNames);
  const name = ward.urgent.find((bed) => ward.index.get(bed)?.audible && !shown.has(bed));
  const row = name === undefined ? null : ward.index.get(name);
  renderIfChanged(element, row ? `${row.bed} ${row.audible}` : "", () =>
    row
      ? [make("a", { class: `elsewhere alarm ${row.audible} active`, href: bedHash(row.bed) }, `${PRIORITY_MARKS[row.audible]} `, make("bdi", { text: bedLabel(row.bed) }))]
      : [],
  );
}

/** Show the state of link and recording, in a word each. */
export function updateSystem(element, ward) {
  const { link, recording } = ward;
  const parts = [];
  if (link) {
    const isGood = link.state === "connected";
    parts.push({ kind: `system ${isGood ? "good" : link.state === "lost" ? "bad" : "waiting"}`, text: `${isGood ? "●" : "○"} ${(link.is_store ? STORE_WORDS : LINK_WORDS)[link.state] ?? link.state}` });
  }
  if (recording) {
    const kind = `system ${recording.trouble ? "bad" : "good"}`;
    parts.push({ kind, text: recording.trouble ? "○ REC" : "● REC", more: recording.trouble ? "" : ` ${bytesText(recording.free)} free` });
  }
  renderIfChanged(element, JSON.stringify(parts), () => parts.map((part) => make("span", { class: part.kind }, part.text, make("span", { class: "more", text: part.more ?? "" }))));
}

/** Show the troubles of link and recording in words, across the page. */
export function updateTroubles(element, ward) {
  const troubles = [];
  const isStore = ward.link?.is_store;
  if (ward.link?.state === "lost") troubles.push({ kind: "bad", text: `${isStore ? "STORE AWAY" : "LINK LOST"}: ${ward.link.trouble || "no packets come from the device"}` });
  else if (ward.link?.trouble) troubles.push({ kind: "warn", text: `${isStore ? "FLEET" : "LINK"}: ${ward.link.trouble}` });
  if (ward.recording?.trouble) troubles.push({ kind: "bad", text: `RECORDING: ${ward.recording.trouble}` });
  renderIfChanged(element, JSON.stringify(troubles), () => troubles.map((part) => make("p", { class: `banner ${part.kind}`, text: part.text })));
}

/** Show that there is no connection, or that it is late, and for how long; what is shown is then dimmed. */
export function updateConnection(element, connection, lateS) {
  const root = document.documentElement;
  const silence = connection.silenceS();
  const isLost = !connection.isUp && connection.wasUp;
  setAttribute(root, "data-connection", connection.isUp ? (lateS ? "late" : "up") : connection.wasUp ? "lost" : "none");
  setShown(element, lateS > 0 || (!connection.isUp && (connection.wasUp || connection.lacksToken || silence > 2)));
  const words = isLost ? `NO CONNECTION to the monitor for ${ageText(silence)}: what you see is old` : "Connecting to the monitor …";
  const late = `DELAYED ${ageText(lateS)}: what you see is that old`;
  const [text, ask] = element.children;
  setText(text, connection.lacksToken ? TOKEN_WORDS : connection.isUp ? late : [words, connection.refusal].filter(Boolean).join(" · "));
  setShown(ask, connection.lacksToken);
}

/** Show the samples of the ward and what watches it, at the foot of the page. */
export function updateFoot(element, ward) {
  const { ledger } = ward;
  const words = ledger ? `samples sent ${countText(ledger.sent)} = analysed ${countText(ledger.analysed)} + missing ${countText(ledger.missing)}${ledger.open ? ` + ${countText(ledger.open)} under way` : ""}` : "";
  setText(element, [words, ward.weights ? `net ${ward.weights}` : ""].filter(Boolean).join(" · "));
}

/** Show the monitor's clock, and say so if that of this computer is far off. */
export function updateClock(element, ward) {
  const [time, zone] = element.children;
  setText(time, ward.hello ? clockText(ward.now()) : "--:--:--");
  setText(zone, zoneText());
  const skew = ward.clock.skew();
  const isOff = ward.hello !== null && Math.abs(skew) > 5;
  setAttribute(element, "title", isOff ? `clock of the monitor; that of this computer is ${ageText(Math.abs(skew))} ${skew > 0 ? "ahead" : "behind"}` : "clock of the monitor");
}
