/** The mark of a page that has failed appears by itself, by the style sheet, unless a running page holds it back. */

import { byId } from "./dom.js";
import { stats } from "./frame_loop.js";

const PULSE_MS = 1000;
/** Milliseconds without a frame after which a page that can be seen has failed. */
const STILL_MS = 5000;

/** Hold back the mark as long as the page draws and nothing has gone wrong in it. */
export function startWatchdog() {
  const root = document.documentElement;
  let hasFailed = false;
  let frames = -1;
  let drawnMs = performance.now();
  let pulse = 0;
  const beat = () => {
    if (stats.frames !== frames || document.hidden) [frames, drawnMs] = [stats.frames, performance.now()];
    if (hasFailed || performance.now() - drawnMs > STILL_MS) return;
    root.removeAttribute("data-failed");
    // Another name of the same animation begins it anew
    pulse = 1 - pulse;
    byId("failed").dataset.pulse = String(pulse);
  };
  addEventListener("error", (event) => {
    // What a browser says of its own layout, or of a script that is not of this page, is no failure of the page
    if (!event.filename?.startsWith(location.origin) || event.message?.includes("ResizeObserver")) return;
    hasFailed = true;
    root.setAttribute("data-failed", "");
  });
  document.addEventListener("visibilitychange", () => {
    drawnMs = performance.now();
    beat();
  });
  setInterval(beat, PULSE_MS);
  beat();
}
