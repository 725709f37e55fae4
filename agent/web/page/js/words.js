/** Numbers, times and states in words, the same as in the terminal. */

/** Marks of the priorities, which say without colour what the colour says. */
export const PRIORITY_MARKS = { high: "!!!", medium: "!!", low: "!" };
export const PRIORITIES = ["high", "medium", "low"];
export const CLASSES = ["N", "S", "V", "F", "Q"];
export const CLASS_NAMES = {
  N: "normal beat",
  S: "supraventricular ectopic beat",
  V: "ventricular ectopic beat",
  F: "fusion beat",
  Q: "unclassifiable or paced beat",
};
const STATE_WORDS = {
  ok: "monitoring",
  learning: "learning the signal",
  "lead off": "LEAD OFF",
  saturated: "SATURATED",
  "no signal": "NO SIGNAL",
  "no data": "NO DATA",
  "no monitor": "NO MONITOR",
  "store away": "STORE AWAY",
  refused: "REFUSED",
  ended: "ENDED",
};
/** What a page says that knows nothing of the beds yet. */
export const STARTING_WORDS = "The monitor is starting: its beds follow.";
/** States in which no samples come. */
export const SILENT_STATES = new Set(["no data", "no monitor", "store away", "refused", "ended"]);
/** Delay behind the device, in seconds, from which a bed is marked. */
const BEHIND_S = 1.5;
/** Quality of a lead from which on it is good, and below which it is poor. */
const GOOD_QUALITY = 0.7;
const POOR_QUALITY = 0.3;

let zone = null;

/** Return whether no samples come from a bed. */
export function isSilent(bed) {
  return SILENT_STATES.has(bed.state);
}

/** Return the name of a bed as it is shown: one with blanks around it has quotes, as it is another than one without. */
export function bedLabel(name) {
  return name === name.trim() ? name : `"${name}"`;
}

/** Say the state of a bed. */
export function stateWords(state) {
  return STATE_WORDS[state] ?? state;
}

/** Say who tells of a bed of a fleet, whose traces are at the monitors; "" for a bed of a monitor. */
export function fleetWords(fleet) {
  if (!fleet) return "";
  const alive = fleet.replicas.filter((replica) => replica.is_alive).length;
  const silent = fleet.replicas.filter((replica) => !replica.is_alive).map((replica) => `${replica.name} silent for ${ageText(replica.silent_s)}`);
  const monitors = `${alive} ${alive === 1 ? "monitor" : "monitors"}`;
  return ["traces are at the monitors", fleet.speaker ? `told by ${fleet.speaker}` : "nobody tells of it", monitors, ...silent].join(" · ");
}

/** Say a duration, such as 25 s, 1 min 40 s, 30 min, 2 h. */
export function ageText(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 100) return `${whole} s`;
  if (whole < 600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 6000) return `${Math.floor(whole / 60)} min`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86400)} d`;
}

/** Say a rest of time as minutes and seconds, such as 1:53. */
export function countdownText(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole >= 3600) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Tell times in the zone of the monitor, such as "+01:00"; anything else: in that of this computer. */
export function useZone(text) {
  const found = /^([+-])(\d\d):(\d\d)$/.exec(text ?? "");
  zone = found ? { text, minutes: Number(`${found[1]}1`) * (60 * Number(found[2]) + Number(found[3])) } : null;
}

/** Return the zone in which times are told. */
export function zoneText() {
  return zone?.text ?? "";
}

/** Return day and time of day of a Unix time, each as text, in the zone of the monitor. */
function dayAndTime(unixS) {
  const minutes = zone?.minutes ?? -new Date(unixS * 1000).getTimezoneOffset();
  const date = new Date((unixS + 60 * minutes) * 1000);
  return Number.isNaN(date.getTime()) ? ["--", "--:--:--"] : date.toISOString().slice(0, 19).split("T");
}

/** Say the time of day of a Unix time, such as 14:03:21. */
export function clockText(unixS) {
  return dayAndTime(unixS)[1];
}

/** Say day and time of a Unix time where it is not of today. */
export function momentText(unixS, nowS) {
  const [day, time] = dayAndTime(unixS);
  return day === dayAndTime(nowS)[0] ? time : `${day} ${time}`;
}

/** Say a count with commas. */
export function countText(count) {
  return Math.round(count).toLocaleString("en-US");
}

/** Say a number of bytes in three digits. */
export function bytesText(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let value = Math.max(0, bytes);
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${value.toFixed(unit && value < 9.95 ? 1 : 0)} ${units[unit]}`;
}

/** Say a rate or another figure; -- where there is none. */
export function figureText(value, digits = 0) {
  return value === null || value === undefined || !Number.isFinite(value) ? "--" : value.toFixed(digits);
}

/** Return the letter of a beat, small where the net is less sure of its class than that. */
export function beatLetter(beat, leastConfidence) {
  return beat.confidence < leastConfidence ? beat.label.toLowerCase() : beat.label;
}

/** Say how sure the net is of the latest beat, if there is one, and what a small letter means. */
export function letterWords(beat, leastConfidence) {
  const latest = beat ? `last beat ${beatLetter(beat, leastConfidence)}, ${Math.round(100 * beat.confidence)}% sure` : "";
  const legend = leastConfidence > 0 ? `small letter: under ${Math.round(100 * leastConfidence)}%` : "";
  return [latest, legend].filter(Boolean).join(" · ");
}

/** Say how good the signal of a lead is: good, fair, poor, or "" where it is not measured. */
export function qualityWord(quality) {
  if (quality === null || quality === undefined) return "";
  return quality >= GOOD_QUALITY ? "good" : quality >= POOR_QUALITY ? "fair" : "poor";
}

/** Say whether the signal of a bed is good, in a word or two. */
export function signalWords(bed) {
  if (bed.state !== "ok" && bed.state !== "learning") return stateWords(bed.state);
  const word = qualityWord(bed.quality);
  return word ? `signal ${word}` : "signal present";
}

/** Say how far the shown signal lies behind its device; "" if it does not. */
export function behindWords(bed) {
  return bed.behindS > BEHIND_S && !SILENT_STATES.has(bed.state) ? `behind ${ageText(bed.behindS)}` : "";
}

/** Say the phase of an alarm; "" while it is active. */
export function phaseWords(alarm) {
  return { acknowledged: "acknowledged", over: "over" }[alarm.phase] ?? "";
}
