/** Small helpers to build and change the page. Text from outside is only ever set as text, never as HTML. */

/**
 * Make an element.
 * @param {string} tag name of the element
 * @param {Object<string, *>} [attributes] `class`, `text`, `on...` listeners, else attributes; false and null leave one out
 * @param {...(Node|string)} children what it holds
 * @returns {HTMLElement}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children);
  return element;
}

/** Set the text of an element if it differs: an unchanged one costs no layout and is not read aloud again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute if it differs; null takes it away. */
export function setAttribute(element, name, value) {
  if (value === null) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Show or hide an element. */
export function setShown(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/** Replace what an element holds, but only if `key`, which says it all, has changed. */
export function renderIfChanged(element, key, build) {
  if (element.renderedKey === key) return;
  element.renderedKey = key;
  element.replaceChildren(...build());
}

/** Return the element with an id. */
export function byId(id) {
  return document.getElementById(id);
}
