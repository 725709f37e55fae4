/** The one loop that draws: paced by the screen, still while the page is hidden, and counted. */

/** Shortest time between two frames in milliseconds: thirty a second look smooth at the speed of a trace. */
const LEAST_MS = 30;

/** Figures that anybody may read in the console, and the tests do. */
export const stats = { frames: 0, messages: 0, drawMs: 0, bytes: 0 };
globalThis.ecgStats = stats;

/**
 * Call `draw` with the seconds of a steady clock for every frame while the page can be seen.
 * @param {function(number)} draw
 * @param {function()} onReturn called when the page can be seen again
 */
export function runFrameLoop(draw, onReturn) {
  let latestMs = 0;
  let waiting = 0;
  const step = (nowMs) => {
    waiting = document.hidden ? 0 : requestAnimationFrame(step);
    if (nowMs - latestMs < LEAST_MS) return;
    latestMs = nowMs;
    const began = performance.now();
    draw(began / 1000);
    stats.frames += 1;
    stats.drawMs += performance.now() - began;
  };
  document.addEventListener("visibilitychange", () => {
    cancelAnimationFrame(waiting);
    waiting = 0;
    if (document.hidden) return;
    onReturn();
    waiting = requestAnimationFrame(step);
  });
  waiting = requestAnimationFrame(step);
}
