/** The keys, the same as in the terminal where there is the same to do. */

/**
 * Listen to the keyboard.
 * @param {Object<string, function(KeyboardEvent)>} commands by key; "ward:" and "bed:" before a key limit it to a view
 * @param {function(): string} view returns "ward" or "bed"
 */
export function listenToKeys(commands, view) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const command = commands[`${view()}:${event.key}`] ?? commands[event.key];
    if (!command) return;
    if (command(event) !== false) event.preventDefault();
  });
}

function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
