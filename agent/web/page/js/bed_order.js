/** The order of the cards: the most urgent first as the monitor says, but never changed under a hand that chooses. */

/** Seconds for which the order stands still after a key, or a movement of the pointer over the cards. */
const HOLD_S = 5;
/** Seconds for which it stands still while the pointer rests on a card, or a card has the focus. */
const REST_S = 60;

export class BedOrder {
  constructor() {
    this.names = [];
    this.movedS = -Infinity;
    this.isOver = false;
    this.byUrgency = true;
  }

  /** Say that the user has just moved the pointer or pressed a key. `isOver`: a card is pointed at or has the focus. */
  touch(nowS, isOver) {
    this.movedS = nowS;
    this.isOver = isOver;
  }

  /** Return whether the order stands still for the user. */
  isHeld(nowS) {
    return nowS - this.movedS < (this.isOver ? REST_S : HOLD_S);
  }

  /**
   * Take the order as the monitor has it and return that of the cards.
   * @param {string[]} wanted names, the most urgent first
   * @param {string[]} arrival names in the order of their arrival
   * @param {number} nowS seconds of a steady clock
   */
  update(wanted, arrival, nowS) {
    const order = this.byUrgency ? wanted : arrival;
    if (!this.names.length || !this.isHeld(nowS)) this.names = [...order];
    else {
      const present = new Set(order);
      const known = new Set(this.names);
      this.names = [...this.names.filter((name) => present.has(name)), ...order.filter((name) => !known.has(name))];
    }
    return this.names;
  }
}
