"""Pictures of the ward in a browser, for README.md: `python -m benchmarks.web_pictures [--seconds 150]`.

A simulator replays records as a ward, a monitor with `--web` follows it, and Chromium draws `docs/web-ward.png` and
`docs/web-bed.png`. Names of patients are made up.
"""

import argparse
import io
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from agent.cli.device_process import find_free_endpoint
from benchmarks.figures import ROOT
from benchmarks.processes import simulator
from benchmarks.web import chromium, monitor

RECORDS = ("100", "106", "119", "203", "207", "208", "213", "222", "223", "228", "232", "234")
PATIENTS = ("A. Berg", "B. Costa", "C. Dubois", "D. Eriksen", "E. Fischer", "F. Garcia")
OPENED = "208"
"""The bed whose page is drawn."""
TOKEN = "a-token-of-the-pictures"
WIDTH, HEIGHT = 1440, 810
COLOURS = 48
"""A picture of few colours is small."""


def bed_settings() -> str:
    """Return labels of the beds as TOML."""
    beds = zip(RECORDS, PATIENTS * 2, strict=True)
    return "\n".join(
        f'[bed."{bed}"]\npatient = "{patient}"\nplace = "room {number // 2 + 1}"\n'
        for number, (bed, patient) in enumerate(beds)
    )


def save_picture(page: Any, path: Path) -> None:
    """Write what the browser shows as a small PNG."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def draw(folder: Path, seconds: float) -> None:
    """Let the ward run for a while, then draw both pictures."""
    endpoint = find_free_endpoint()
    with tempfile.TemporaryDirectory() as settings:
        config = Path(settings) / "beds.toml"
        config.write_text(bed_settings(), encoding="utf-8")
        token = Path(settings) / "web.token"
        token.touch(mode=0o600)
        token.write_text(TOKEN, encoding="utf-8")
        with (
            simulator("ward", *RECORDS, "--start", "20", "--loop", at=endpoint),
            monitor(endpoint, seconds + 120, "--config", str(config), "--web-token", str(token)) as (_, address),
            chromium(address, WIDTH, HEIGHT) as page,
        ):
            if page is None:
                raise SystemExit("Chromium is not installed")
            page.add_init_script(f"sessionStorage.setItem('ecg-token', '{TOKEN}')")
            page.reload()
            time.sleep(seconds)
            save_picture(page, folder / "web-ward.png")
            page.goto(f"{address}#bed/{quote(OPENED)}")
            time.sleep(12)  # a sweep of the trace
            save_picture(page, folder / "web-bed.png")


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=150.0, help="how long the ward runs before it is drawn")
    parser.add_argument("--folder", type=Path, default=ROOT / "docs", help="where to write the pictures")
    options = parser.parse_args()
    draw(options.folder, options.seconds)


if __name__ == "__main__":
    main()
