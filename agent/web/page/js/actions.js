/** Acknowledge, silence and what else the monitor offers, in the name of a person. */

import { askCredentials, forgetToken, personName, token } from "./credentials.js";
import { setText } from "./dom.js";
import { postDeed } from "./requests.js";

/** What is said after a deed. */
const DONE = { acknowledge: "alarms acknowledged", silence: "silenced", pause: "alarms paused", resume: "alarms no longer paused" };
/** What buttons say, and the key that does the same. */
export const DEEDS = {
  acknowledge: { text: "Acknowledge", key: "K" },
  silence: { text: "Silence", key: "M" },
  pause: { text: "Pause alarms", key: null },
};
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
    if (hello.needs_token && !token()) return "enter the token of the monitor to act on alarms";
    return "this monitor shows, but takes no orders: give it a token to acknowledge or silence from here";
  }

  /** Do something about the alarms of a bed, after asking who does it. */
  async act(deed, name) {
    const reason = this.whyNot();
    if (reason) return this.say(reason, true);
    if (!this.ward.hello.actions.includes(deed)) return this.say(`this monitor offers no ${deed}`, true);
    if (!personName() && !(await askCredentials({ name: true, reason: "Who acts is written down with each alarm." }))) return undefined;
    try {
      await postDeed(this.ward.idOf(name), deed, personName());
      return this.say(`${name}: ${this.#outcome(deed, name)} by ${personName()}`, false);
    } catch (error) {
      if (error.status === 401) forgetToken();
      return this.say(`${name}: ${error.message}`, true);
    }
  }

  /** Say something for a few seconds. */
  say(text, isTrouble) {
    setText(this.note, text);
    this.note.className = `note ${isTrouble ? "trouble" : "done"}`;
    this.note.hidden = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.note.hidden = true), NOTE_MS);
  }

  #outcome(deed, name) {
    const bed = this.ward.beds.get(name);
    if (deed === "silence" && bed?.silencedUntil > this.ward.now()) return "no longer silenced";
    return DONE[deed] ?? deed;
  }
}
