/** Acknowledge, silence and what else the monitor offers, in the name of a person. */

import { askCredentials, forgetToken, keepName, personName, token } from "./credentials.js";
import { make } from "./dom.js";
import { askLimits } from "./limits.js";
import { postDeed } from "./requests.js";
import { bedLabel, clockText } from "./words.js";

/** What buttons say, and the key that does the same. */
export const DEEDS = {
  acknowledge: { text: "Acknowledge", key: "K" },
  silence: { text: "Silence", key: "M" },
  pause: { text: "Pause alarms", key: "Shift+P" },
};
/** What the buttons say while the deed lasts. */
export const ENDS = { silence: "End silence", pause: "End pause" };
const NOTE_MS = 5000;

export class Actions {
  /** @param {import("./ward.js").Ward} ward @param {HTMLElement} note where the outcome is said, a live region */
  constructor(ward, note) {
    this.ward = ward;
    this.note = note;
    this.timer = null;
  }

  /** Return why nothing can be done here; "" if it can. */
  whyNot() {
    const hello = this.ward.hello;
    if (!hello) return "not connected yet";
    if (hello.may_act) return "";
    if (hello.needs_token && !token()) return "enter the token of the monitor to act on alarms: it is in the file given with --web-token";
    return "this monitor shows, but takes no orders: start it with --web-token FILE to acknowledge or silence from here";
  }

  /** Do something about the alarms of a bed, after asking who does it. */
  async act(deed, name) {
    const reason = this.whyNot();
    if (reason) return this.say(reason, true);
    if (!this.ward.hello.actions.includes(deed)) return this.say(`this monitor offers no ${deed}`, true);
    // What is wanted is taken down before the name is asked: the bed may change while somebody types
    const order = this.#order(deed, name);
    if (!order) return this.#sayAbsent(name);
    return this.#send(deed, name, order, "Who acts is written down with each alarm.");
  }

  /** Change the limits of a bed, after asking which, and who does it. */
  async changeLimits(name) {
    const reason = this.whyNot();
    if (reason) return this.say(reason, true);
    if (!this.ward.hello.actions.includes("limits")) return this.say("this monitor offers no change of limits", true);
    const bed = this.ward.beds.get(name);
    if (!bed?.ownLimits) return this.#sayAbsent(name);
    return askLimits(bed, (order) => this.#try("limits", name, order, "Who changes limits is written down with them."));
  }

  /** Say something for a few seconds; of a bed, if one is named. */
  say(text, isTrouble, name = null) {
    this.note.replaceChildren(...(name === null ? [text] : [make("bdi", { text: bedLabel(name) }), `: ${text}`]));
    this.note.className = `note ${isTrouble ? "trouble" : "done"}`;
    this.note.hidden = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.note.hidden = true), NOTE_MS);
  }

  #sayAbsent(name) {
    if (this.ward.idOf(name) === undefined) this.say("there is no bed of this name now", true, name);
    else this.say("is being fetched: try again", true, name);
  }

  /** Send an order, and say so where it is refused. */
  async #send(deed, name, order, why) {
    const refusal = await this.#try(deed, name, order, why);
    if (refusal) this.say(refusal, true, name);
  }

  /**
   * Send an order, in the name of a person who is asked for it where it is not known, and say what came of it.
   * @returns {Promise<?string>} why it was refused, "" if it was not; null where the person has not said the name
   */
  async #try(deed, name, order, why) {
    const title = `${orderWords(deed, order)} ${bedLabel(name)}: who are you?`;
    if (!personName() && !(await askCredentials({ name: true, title, reason: why }))) return null;
    try {
      const said = await postDeed(this.ward.idOf(name), deed, { by: personName(), ...order });
      keepName();
      this.say(`${outcomeWords(deed, order, said)} by ${personName()}`, false, name);
      return "";
    } catch (error) {
      if (error.status === 401) forgetToken();
      return error.message;
    }
  }

  /** Return what is wanted of the monitor, by what the page shows; null while the bed is not known. */
  #order(deed, name) {
    const bed = this.ward.beds.get(name);
    if (!bed) return null;
    if (deed === "acknowledge") return { keys: bed.alarms.map((alarm) => alarm.key) };
    return { on: !((deed === "silence" ? bed.silencedUntil : bed.pausedUntil) > this.ward.now()) };
  }
}

/** Say an order in a word or two, as on its button. */
function orderWords(deed, order) {
  if (deed === "limits") return "Change the limits of";
  return order.on === false ? ENDS[deed] : DEEDS[deed].text;
}

/** Say how the bed stands after a deed, as the monitor has answered. */
function outcomeWords(deed, order, said) {
  if (deed === "limits") return "limits changed";
  if (deed === "acknowledge") return said.acknowledged === 0 ? "no alarm was left to acknowledge; asked" : "alarms acknowledged";
  const until = said[deed === "silence" ? "silenced_until_s" : "paused_until_s"];
  const isOn = until === undefined ? order.on : until !== null;
  if (!isOn) return deed === "silence" ? "no longer silenced" : "alarms on again";
  return `${deed === "silence" ? "silenced" : "alarms paused"}${until ? ` until ${clockText(until)}` : ""}`;
}
