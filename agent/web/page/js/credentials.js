/** Who sits at this browser, and the token of the monitor: kept until the tab is closed, nowhere else. */

import { byId, make, setText } from "./dom.js";

const NAME_KEY = "ecg-name";
const TOKEN_KEY = "ecg-token";
const USED_KEY = "ecg-name-used";
const LONGEST_NAME = 40;
/** Milliseconds without a deed after which the name is asked again: somebody else may stand here. */
const FORGET_MS = 15 * 60 * 1000;

/** Return the token, "" if none is known. */
export function token() {
  return sessionStorage.getItem(TOKEN_KEY) ?? "";
}

/** Return the name of the person, "" if nobody has said it yet, or who said it has long done nothing. */
export function personName() {
  const name = sessionStorage.getItem(NAME_KEY) ?? "";
  if (!name) return "";
  const usedMs = Number(sessionStorage.getItem(USED_KEY));
  if (!usedMs) keepName();
  else if (Date.now() - usedMs > FORGET_MS) {
    sessionStorage.removeItem(NAME_KEY);
    sessionStorage.removeItem(USED_KEY);
    return "";
  }
  return name;
}

/** Say that the person has just done something: the name holds for another while. */
export function keepName() {
  sessionStorage.setItem(USED_KEY, String(Date.now()));
}

/** Forget a token that the monitor does not know. */
export function forgetToken() {
  sessionStorage.removeItem(TOKEN_KEY);
}

/**
 * Ask for the name or the token in a dialog.
 * @param {{name?: boolean, token?: boolean, title?: string, reason: string}} wanted what is to be asked, and why
 * @returns {Promise<boolean>} whether the person has answered
 */
export function askCredentials(wanted) {
  const dialog = byId("credentials");
  if (dialog.open) return Promise.resolve(false);
  const fields = [];
  if (wanted.name) fields.push(field("Your name", "name", { value: personName(), maxlength: LONGEST_NAME, autocomplete: "off" }));
  if (wanted.token) fields.push(field("Token of the monitor", "token", { type: "password", autocomplete: "off" }));
  setText(byId("credentials-title"), wanted.title ?? (wanted.token ? "Token" : "Who are you?"));
  setText(byId("credentials-reason"), wanted.reason);
  byId("credentials-fields").replaceChildren(...fields);
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "ok" && keep(dialog));
    dialog.returnValue = "";
    dialog.showModal();
    dialog.querySelector("input")?.focus();
  });
}

function field(label, name, attributes) {
  return make("label", { class: "field" }, make("span", { text: label }), make("input", { name, required: true, ...attributes }));
}

function keep(dialog) {
  for (const input of dialog.querySelectorAll("input")) {
    const value = input.value.trim();
    if (!value) return false;
    sessionStorage.setItem(input.name === "name" ? NAME_KEY : TOKEN_KEY, value);
    if (input.name === "name") keepName();
  }
  return true;
}
