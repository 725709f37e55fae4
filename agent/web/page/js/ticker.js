/** A clock in a worker: it ticks in a hidden tab, too, where the timers of a page are slowed to one in a minute. */

setInterval(() => postMessage(0), 200);
