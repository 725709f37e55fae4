"""A real browser of the tests: Debian's Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NO_BROWSER = (
    ""
    if CHROMIUM and find_spec("playwright")
    else "there is no browser to test the page in (pip install playwright; Debian: apt install chromium)"
)
NETWORK_CHANGED = "ERR_NETWORK_CHANGED"
"""Chromium drops all it is loading when the system gets or loses a network interface, as other tests make it do."""
LOADS = 10
DESKTOP, PHONE = (1600, 900), (390, 844)

WAVES_MOVE = """card => { const canvas = card.querySelector('canvas');
  const columns = () => { const {width, height} = canvas;
    const data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
    return Array.from({length: width}, (_, x) => { let sum = 0;
      for (let y = 0; y < height; y++) sum += data[4 * (y * width + x) + 3] * (y + 1); return sum; }); };
  const before = columns();
  return new Promise(done => setTimeout(() => { const after = columns();
    done({changed: after.filter((sum, x) => sum !== before[x]).length, empty: after.filter(sum => sum === 0).length,
          width: canvas.width}); }, 1000)); }"""
"""How many columns of a canvas change within a second, and how many are empty: the erase bar."""
TRACE_MOVES = WAVES_MOVE.replace("'canvas'", "'canvas:last-child'")
"""The same of the trace of a lead, which lies on the canvas of its paper."""
CONTRASTS = """() => { const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => { const part = [r, g, b].map((v) => { v /= 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2]; };
  const ground = (element) => { for (let e = element; e; e = e.parentElement) {
    const colour = parse(getComputedStyle(e).backgroundColor); if (colour[3] !== 0) return colour; }
    return [0, 0, 0]; };
  const found = {};
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest('.sr-only, .skip, :disabled')) continue;
    const [one, other] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) found[element.className + ': ' + element.textContent.slice(0, 20)] = contrast.toFixed(2); }
  return found; }"""
"""Texts that stand out from their ground by less than 4.5 to 1 (WCAG AA)."""
NAMELESS = """() => [...document.querySelectorAll('button, a, input, canvas[role=img]')]
  .filter((e) => e.checkVisibility() && !e.textContent.trim() && !e.ariaLabel && !(e.labels && e.labels.length))
  .map((e) => e.outerHTML.slice(0, 80))"""
"""Controls without a name for a screen reader."""


@contextmanager
def open_browser() -> "Iterator[Browser]":
    """Start the browser, without a graphics card: its software drawing is the worst case."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu", "--no-sandbox"])
        yield browser
        browser.close()


class Viewer:
    """A tab of its own browser session that looks at a ward; `troubles` are what a page must never cause."""

    def __init__(self, browser: "Browser", url: str, size: tuple[int, int] = DESKTOP, **context: Any) -> None:
        self._context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **context)
        self.page: Page = self._context.new_page()
        self.url, self.troubles = url, list[str]()
        self._network_changed = False
        self.page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("request", lambda request: self._note_request(request.url))
        self.page.on("dialog", lambda dialog: self.troubles.append(f"dialog: {dialog.message}"))

    def open(self, view: str = "", token: str = "", name: str = "") -> "Viewer":
        """Open the page, with what an earlier visit of the tab has left."""
        for key, value in {"ecg-token": token, "ecg-name": name}.items():
            if value:
                self.page.add_init_script(f"sessionStorage.setItem({key!r}, {value!r})")
        for _ in range(LOADS):
            self._network_changed = False
            try:
                self.page.goto(f"{self.url}{view}")
            except Exception as error:
                if NETWORK_CHANGED not in str(error):
                    raise
                continue
            if not self._network_changed:
                break
        return self

    def card(self, bed: str) -> Any:
        """Return the card of a bed."""
        return self.page.locator(".card").filter(has=self.page.locator(".bed-name", has_text=bed))

    def close(self) -> None:
        self._context.close()

    def _note(self, kind: str, text: str) -> None:
        self._network_changed |= NETWORK_CHANGED in text
        # A monitor that is gone is said on the page; the browser says so in its console, too
        if NETWORK_CHANGED in text:
            return
        if kind == "error" and "ERR_CONNECTION" not in text and "WebSocket connection to" not in text:
            self.troubles.append(f"{kind}: {text}")

    def _note_request(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "blob:")):
            self.troubles.append(f"request to {url}")
