/** Who sits at this browser, and the token of the monitor: kept until the tab is closed, nowhere else. */

import { byId, make, setText } from "./dom.js";

const NAME_KEY = "ecg-name";
const TOKEN_KEY = "ecg-token";
const LONGEST_NAME = 40;

/** Return the token, "" if none is known. */
export function token() {
  return sessionStorage.getItem(TOKEN_KEY) ?? "";
}

/** Return the name of the person, "" if nobody has said it yet. */
export function personName() {
  return sessionStorage.getItem(NAME_KEY) ?? "";
}

/** Forget a token that the monitor does not know. */
export function forgetToken() {
  sessionStorage.removeItem(TOKEN_KEY);
}

/**
 * Ask for the name or the token in a dialog.
 * @param {{name?: boolean, token?: boolean, reason: string}} wanted what is to be asked, and why
 * @returns {Promise<boolean>} whether the person has answered
 */
export function askCredentials(wanted) {
  const dialog = byId("credentials");
  if (dialog.open) return Promise.resolve(false);
  const fields = [];
  if (wanted.name) fields.push(field("Your name", "name", { value: personName(), maxlength: LONGEST_NAME, autocomplete: "off" }));
  if (wanted.token) fields.push(field("Token of the monitor", "token", { type: "password", autocomplete: "off" }));
  setText(byId("credentials-title"), wanted.token ? "Token" : "Who are you?");
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
  }
  return true;
}
