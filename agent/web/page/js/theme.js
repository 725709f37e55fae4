/** Dark or light: as the computer prefers it, until somebody chooses. */

const KEY = "ecg-theme";
const preference = matchMedia("(prefers-color-scheme: light)");
const listeners = [];

/** Begin with the chosen or the preferred look, and follow the preference. */
export function startTheme() {
  preference.addEventListener("change", apply);
  apply();
}

/** Change between dark and light, and remember it on this computer. */
export function switchTheme() {
  localStorage.setItem(KEY, isLight() ? "dark" : "light");
  apply();
}

/** Return whether the page is light. */
export function isLight() {
  const chosen = localStorage.getItem(KEY);
  return chosen ? chosen === "light" : preference.matches;
}

/** Call `listener` after every change: canvases have to be drawn anew. */
export function onThemeChange(listener) {
  listeners.push(listener);
}

/** Return the colours of traces, as the style sheet has them. */
export function traceColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  const classes = Object.fromEntries(["N", "S", "V", "F", "Q"].map((name) => [name, read(`--class-${name.toLowerCase()}`)]));
  return {
    ...classes,
    trace: read("--trace"),
    missing: read("--missing"),
    paper: read("--paper"),
    fine: read("--paper-fine"),
    coarse: read("--paper-coarse"),
    text: read("--text"),
    dim: read("--dim"),
    rule: read("--rule"),
    font: style.fontFamily,
  };
}

function apply() {
  document.documentElement.dataset.theme = isLight() ? "light" : "dark";
  for (const listener of listeners) listener();
}
