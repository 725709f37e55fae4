/** The legend of letters, marks and keys. */

import { make } from "./dom.js";
import { CLASSES, CLASS_NAMES } from "./words.js";

const MARKS = [
  ["!!! red, flashing fast", "alarm of high priority: act at once"],
  ["!! yellow, flashing slowly", "alarm of medium priority"],
  ["! cyan, steady", "alarm of low priority, or a technical one"],
  ["outlined, “acknowledged”", "somebody has seen the alarm; it goes on"],
  ["dashed, “over 08:24:46”", "the alarm is over, but nobody has acknowledged it"],
  ["silenced 1:53", "no sound for this bed for the time that is said"],
  ["ALARMS PAUSED", "no alarm of this bed is shown or heard for the time that is said"],
  ["off: …", "alarms of this bed that are turned off"],
  ["letter above a beat", "its class; small and dim where the net is not sure"],
  ["DELAYED 6 s", "the network is slow: what you see is that old"],
  ["--", "no heart rate: no signal, noise or an arrest"],
  ["dots instead of a line", "samples that are missing"],
];
const KEYS = [
  ["← → ↑ ↓", "move between beds"],
  ["Enter", "show a bed in full"],
  ["Esc  o", "back to the ward"],
  ["n  p", "next bed, bed before"],
  ["k", "acknowledge the alarms of the bed that is open, or whose card has the frame"],
  ["m", "silence the bed, or end the silence"],
  ["P", "pause the alarms of the bed, or end the pause"],
  ["l", "change the limits of the bed"],
  ["t  A", "trends of the bed, its alarms with their strips"],
  ["space", "freeze the traces of a bed, or let them go on"],
  ["b", "sound on or off"],
  ["s", "order of the beds: urgency or arrival"],
  ["/", "find a bed by its name"],
  ["Page ↑ ↓", "page of beds"],
  ["+  −  a", "gain of the traces, as the wave needs it"],
  ["<  >", "speed of the traces"],
  ["d", "dark or light"],
  ["?", "this help"],
];

/** Fill the dialog with the legend. */
export function fillHelp(body) {
  const letters = CLASSES.map((name) => [make("b", { class: `class-${name}`, text: name }), CLASS_NAMES[name]]);
  body.replaceChildren(
    make("section", {}, make("h3", { text: "Beats" }), list(letters)),
    make("section", {}, make("h3", { text: "Keys" }), list(KEYS.map(([keys, text]) => [make("kbd", { text: keys }), text]))),
    make("section", { class: "marks" }, make("h3", { text: "Marks" }), list(MARKS)),
  );
}

function list(rows) {
  return make("dl", {}, ...rows.flatMap(([term, text]) => [make("dt", {}, term), make("dd", { text })]));
}
