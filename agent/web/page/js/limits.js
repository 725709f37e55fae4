/** The limits of a bed: what they are called, and a dialog to change them. */

import { byId, make, setText } from "./dom.js";
import { bedLabel } from "./words.js";

/** What the limits that may be set of a bed are called, by the name that the monitor has for them. */
const LIMITS = {
  rate_high_bpm: "Heart rate above, beats a minute",
  rate_low_bpm: "Heart rate below, beats a minute",
  pause_s: "Pause longer than, seconds",
  asystole_s: "Asystole after, seconds",
  v_most_per_min: "V beats above, a minute",
};

/**
 * Ask for the limits of a bed in a dialog: an empty field is as for all beds. The dialog stays open, with what was typed,
 * until they are taken or the person leaves it.
 * @param {function({limits: Object<string, ?number>, was: Object<string, ?number>}): Promise<?string>} send takes those
 *     that are to be others, and what they were when the dialog was opened; returns why they are refused, "" if they are not
 * @returns {Promise} kept once the dialog is closed
 */
export function askLimits(bed, send) {
  const dialog = byId("limits");
  if (dialog.open) return Promise.resolve();
  const rows = Object.keys(LIMITS).flatMap((name) => bed.ownLimits.filter((row) => row.name === name));
  setText(byId("limits-title"), `Limits of ${bedLabel(bed.bed)}`);
  byId("limits-fields").replaceChildren(...rows.map(field));
  setText(byId("limits-refusal"), "");
  return new Promise((resolve) => {
    dialog.onclose = resolve;
    dialog.querySelector("form").onsubmit = (event) => {
      if (event.submitter?.value !== "ok") return;
      event.preventDefault();
      take(dialog, rows, send);
    };
    dialog.showModal();
    dialog.querySelector("input")?.focus();
  });
}

function field({ name, own, of_all: ofAll }) {
  const input = make("input", { name, type: "number", step: "any", min: 0, value: own, placeholder: `${ofAll}, as for all beds` });
  return make("label", { class: "field" }, make("span", { text: LIMITS[name] }), input);
}

/** Send what was changed, and close the dialog; where that is refused, say why in it. */
async function take(dialog, rows, send) {
  const order = changes(dialog, rows);
  const refusal = order ? await send(order) : "";
  if (refusal === "") dialog.close();
  else setText(byId("limits-refusal"), refusal ?? "");
}

function changes(dialog, rows) {
  const wanted = rows.map(({ name, own }) => [name, own ?? null, number(dialog.querySelector(`input[name="${name}"]`).value)]);
  const changed = wanted.filter(([, was, is]) => is !== was);
  if (!changed.length) return null;
  return { limits: Object.fromEntries(changed.map(([name, , is]) => [name, is])), was: Object.fromEntries(changed.map(([name, was]) => [name, was])) };
}

function number(text) {
  return text.trim() === "" ? null : Number(text);
}
