/** The wall: the cards of one page of beds, drawn live, and moved over with the arrow keys. */

import { BedOrder } from "./bed_order.js";
import { Card, bedHash } from "./card.js";
import { make, setText } from "./dom.js";

/** Least size of a card in pixels, and most cards on a page. */
const LEAST_WIDTH = 186;
const LEAST_HEIGHT = 94;
const MOST_CARDS = 64;
/** Width in pixels up to which there is one column that scrolls, as on a phone. */
const PHONE_WIDTH = 560;
/** Shape of a card that is best to read: width to height. */
const BEST_SHAPE = 2.4;
/** One card in this many has its millivolts chosen anew with each frame. */
const REFIT_TURNS = 30;

export class Wall {
  /**
   * @param {HTMLElement} list that holds the cards
   * @param {import("./ward.js").Ward} ward
   * @param {function(): Object} look colours and doubt of the traces
   */
  constructor(list, ward, look) {
    this.list = list;
    this.ward = ward;
    this.look = look;
    this.cards = new Map();
    this.order = new BedOrder();
    this.page = 0;
    this.perPage = MOST_CARDS;
    this.names = [];
    this.turn = 0;
    this.chosen = null;
    this.isShown = false;
    this.onVisible = () => {};
    this.sized = new ResizeObserver((entries) => entries.forEach((entry) => entry.target.ecgCard.measure()));
    this.seen = new IntersectionObserver((entries) => this.#see(entries), { rootMargin: "200px" });
    new ResizeObserver(() => this.layOut()).observe(list);
    list.addEventListener("pointermove", () => this.#touch());
    list.addEventListener("pointerleave", () => this.order.touch(performance.now() / 1000, false));
    list.addEventListener("focusin", (event) => this.#focusIn(event));
  }

  /** Forget all cards. */
  reset() {
    this.cards.clear();
    this.list.replaceChildren();
    this.order.names = [];
    this.names = [];
    this.page = 0;
    this.chosen = null;
  }

  /** Show the ward as it now is. */
  update() {
    const all = this.order.update(this.ward.urgent, this.ward.arrival, performance.now() / 1000);
    const pages = this.pages();
    this.page = Math.min(this.page, pages - 1);
    const names = all.slice(this.page * this.perPage, (this.page + 1) * this.perPage);
    this.#place(names);
    for (const name of names) {
      const bed = this.ward.beds.get(name);
      if (bed) this.cards.get(name).update(bed, this.ward);
    }
  }

  /** Return the number of pages. */
  pages() {
    return Math.max(1, Math.ceil(this.order.names.length / this.perPage));
  }

  /** Draw the waves of the cards that can be seen. */
  draw(nowS) {
    this.turn += 1;
    let place = 0;
    for (const name of this.names) {
      const card = this.cards.get(name);
      place += 1;
      if (!card?.isVisible) continue;
      card.draw(this.ward.wave(name), nowS);
      if ((place + this.turn) % REFIT_TURNS === 0) card.refit();
    }
  }

  /** Return the names of the beds whose waves are wanted. */
  visibleNames() {
    return this.names.filter((name) => this.cards.get(name)?.isVisible);
  }

  /** Return the seconds of signal across the widest card. */
  secondsAcross() {
    return Math.max(1, ...this.names.map((name) => this.cards.get(name)?.look.seconds ?? 1));
  }

  /** Take other colours for all traces. */
  recolour() {
    for (const card of this.cards.values()) card.recolour(this.look());
  }

  /** Fit columns and rows to the room and the number of beds. */
  layOut() {
    const { clientWidth: width } = this.list;
    const height = this.list.parentElement.clientHeight;
    if (!width || !height) return;
    const isPhone = width <= PHONE_WIDTH;
    const columnsRoom = Math.max(1, Math.floor(width / LEAST_WIDTH));
    const rowsRoom = Math.max(1, Math.floor(height / LEAST_HEIGHT));
    this.perPage = isPhone ? MOST_CARDS : Math.min(MOST_CARDS, columnsRoom * rowsRoom);
    const count = Math.max(1, Math.min(this.perPage, this.order.names.length || 1));
    const columns = isPhone ? 1 : bestColumns(count, width, height, columnsRoom);
    this.columns = columns;
    this.list.dataset.columns = columns;
    this.list.style.setProperty("--columns", columns);
    this.list.style.setProperty("--rows", Math.ceil(count / columns));
    for (const name of this.names) this.cards.get(name)?.measure();
  }

  /** Return the name of the bed that keys act on: that of the card with the focus, which is marked; null if none has it. */
  marked() {
    return document.activeElement?.closest("li")?.ecgCard?.name ?? null;
  }

  /** Move the focus by cards, or to the first or last one; over the edge of a page goes on to the next. */
  move(by) {
    const now = this.chosen && this.names.includes(this.chosen) ? this.names.indexOf(this.chosen) : null;
    const target = now === null ? (by > 0 ? 0 : this.names.length - 1) : now + by;
    if (target < 0 || target >= this.names.length) {
      if (Math.abs(by) !== 1 || !this.turnPage(by)) return;
      this.focus(this.names[by > 0 ? 0 : this.names.length - 1]);
    } else this.focus(this.names[target]);
  }

  /** Show another page. Returns whether there is one. */
  turnPage(by) {
    const page = Math.min(Math.max(0, this.page + by), this.pages() - 1);
    if (page === this.page) return false;
    this.page = page;
    this.update();
    this.list.parentElement.scrollTop = 0;
    return true;
  }

  /** Give a bed the focus, on whatever page it is. */
  focus(name) {
    const place = this.order.names.indexOf(name);
    if (place < 0) return;
    const page = Math.floor(place / this.perPage);
    if (page !== this.page) {
      this.page = page;
      this.update();
    }
    this.cards.get(name)?.link.focus();
  }

  #place(names) {
    const wanted = new Set(names);
    const hadFocus = this.list.contains(document.activeElement) ? this.chosen : null;
    for (const [name, card] of this.cards) if (!wanted.has(name)) this.#remove(name, card);
    names.forEach((name, place) => {
      const card = this.cards.get(name) ?? this.#add(name);
      // Only what is out of place is moved: a card that moves loses its focus for a moment
      if (this.list.children[place] !== card.element) this.list.insertBefore(card.element, this.list.children[place] ?? null);
    });
    const changed = names.length !== this.names.length || names.some((name, i) => name !== this.names[i]);
    this.names = names;
    if (!changed) return;
    this.#roveTabStop();
    if (hadFocus && wanted.has(hadFocus)) this.cards.get(hadFocus).link.focus({ preventScroll: true });
    this.layOut();
    this.onVisible();
  }

  #add(name) {
    const card = new Card(name, this.look());
    this.cards.set(name, card);
    this.seen.observe(card.element);
    this.sized.observe(card.trace);
    card.element.ecgCard = card.trace.ecgCard = card;
    return card;
  }

  #remove(name, card) {
    this.seen.unobserve(card.element);
    this.sized.unobserve(card.trace);
    card.element.remove();
    this.cards.delete(name);
  }

  #see(entries) {
    for (const entry of entries) entry.target.ecgCard.isVisible = entry.isIntersecting;
    this.onVisible();
  }

  #touch() {
    this.order.touch(performance.now() / 1000, true);
  }

  #focusIn(event) {
    const name = event.target.closest("li")?.ecgCard?.name;
    if (!name) return;
    this.chosen = name;
    this.#touch();
    this.#roveTabStop();
  }

  /** One card is the stop of the Tab key; the arrows move from it. */
  #roveTabStop() {
    const stop = this.names.includes(this.chosen) ? this.chosen : this.names[0];
    for (const name of this.names) this.cards.get(name).link.tabIndex = name === stop ? 0 : -1;
  }
}

/** Return the columns with which `count` cards in a room come nearest to the best shape. */
function bestColumns(count, width, height, most) {
  let best = 1;
  let least = Infinity;
  for (let columns = 1; columns <= Math.min(most, count); columns++) {
    const rows = Math.ceil(count / columns);
    if (rows * LEAST_HEIGHT > height && columns < Math.min(most, count)) continue;
    const shape = width / columns / (height / rows);
    const empty = (columns * rows - count) / count;
    const badness = Math.abs(Math.log(shape / BEST_SHAPE)) + 0.5 * empty;
    if (badness < least) [best, least] = [columns, badness];
  }
  return best;
}

/** Build the links of the pages, under the wall. */
export function pageButtons(wall, onTurn) {
  const text = make("span", { class: "page-text", "aria-live": "polite" });
  const before = make("button", { type: "button", text: "‹", "aria-label": "Page before", onclick: () => onTurn(-1) });
  const next = make("button", { type: "button", text: "›", "aria-label": "Next page", onclick: () => onTurn(1) });
  const element = make("div", { class: "pages" }, before, text, next);
  const update = () => {
    const pages = wall.pages();
    element.hidden = pages < 2;
    const first = wall.page * wall.perPage;
    setText(text, `beds ${first + 1} to ${Math.min(first + wall.perPage, wall.order.names.length)} of ${wall.order.names.length}`);
    before.disabled = wall.page === 0;
    next.disabled = wall.page >= pages - 1;
  };
  return { element, update };
}

export { bedHash };
