/** The connection to the monitor: kept up with growing pauses, and its silence measured. */

import { forgetToken, token } from "./credentials.js";
import { CLOSED } from "./protocol.js";

/** Silence in seconds after which the connection counts as lost, though nobody has closed it. */
const SILENT_S = 3.5;
const FIRST_PAUSE_S = 0.5;
const LONGEST_PAUSE_S = 5;

/** Pause before the next attempt where the monitor has said that there are too many. */
const REFUSED_PAUSE_S = 10;

export class Connection {
  /**
   * @param {string} url address of the WebSocket
   * @param {{text: function(Object), binary: function(ArrayBuffer), change: function(), askToken: function(string): Promise<boolean>}}
   *   listener told of all that comes; `askToken` resolves to whether there is a token to try
   */
  constructor(url, listener) {
    this.url = url;
    this.listener = listener;
    this.isUp = false;
    this.wasUp = false;
    /** Why the monitor refuses to speak with us, "" if it does not. */
    this.refusal = "";
    this.heardMs = performance.now();
    this.pauseS = FIRST_PAUSE_S;
    this.socket = null;
    this.timer = null;
    this.isAsking = false;
    /** Whether the token was asked for and not given: nothing is tried until `askAgain`. */
    this.lacksToken = false;
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.#retryNow());
    this.#open();
  }

  /** Return for how many seconds nothing has come. */
  silenceS() {
    return (performance.now() - this.heardMs) / 1000;
  }

  /** Send a message. Returns whether there is a connection to send it over. */
  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** Ask for the token once more, after it was not given. */
  askAgain() {
    this.#ask("This monitor shows itself only to those who know its token.");
  }

  #open() {
    this.timer = null;
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    this.openedMs = performance.now();
    this.socket = socket;
    socket.onmessage = (event) => socket === this.socket && this.#take(event.data);
    socket.onclose = (event) => socket === this.socket && this.#lose(event.code, event.reason);
  }

  #take(data) {
    this.heardMs = performance.now();
    const message = typeof data === "string" ? JSON.parse(data) : null;
    if (message?.type === "token") {
      this.#giveToken();
      return;
    }
    this.pauseS = FIRST_PAUSE_S;
    this.refusal = "";
    if (!this.isUp) this.#change(true);
    if (message) this.listener.text(message);
    else this.listener.binary(data);
  }

  #giveToken() {
    if (token()) this.send({ token: token() });
    else {
      this.#drop();
      this.askAgain();
    }
  }

  #drop() {
    this.socket.onclose = null;
    this.socket.close();
    this.socket = null;
    if (this.isUp) this.#change(false);
  }

  #lose(code = 0, reason = "") {
    this.#drop();
    if (code === CLOSED.wrongToken) {
      forgetToken();
      this.#ask(reason || "The monitor does not know this token.");
      return;
    }
    const isRefused = code === CLOSED.tooManyTries || code === CLOSED.tooManyViewers;
    this.refusal = isRefused ? reason || "the monitor accepts no more viewers" : "";
    const pauseS = isRefused ? REFUSED_PAUSE_S : this.pauseS;
    this.timer = setTimeout(() => this.#open(), 1000 * pauseS * (0.75 + 0.5 * Math.random()));
    this.pauseS = Math.min(2 * this.pauseS, LONGEST_PAUSE_S);
  }

  /** Look whether the monitor still speaks; has to be called a few times a second. */
  check() {
    const sinceMs = Math.max(this.heardMs, this.openedMs);
    if (this.socket && performance.now() - sinceMs > 1000 * SILENT_S) this.#lose();
  }

  async #ask(reason) {
    if (this.isAsking) return;
    this.isAsking = true;
    this.lacksToken = !(await this.listener.askToken(reason));
    this.isAsking = false;
    if (this.lacksToken) this.listener.change();
    else this.#open();
  }

  #retryNow() {
    if (this.timer === null) return;
    clearTimeout(this.timer);
    this.#open();
  }

  #change(isUp) {
    this.isUp = isUp;
    this.wasUp ||= isUp;
    this.listener.change();
  }
}

/** Return the address of the WebSocket beside a page. */
export function socketAddress(page, path) {
  const url = new URL(path, page);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  return url.href;
}
