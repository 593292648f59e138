"""Pictures of a run's report for the README: light, dark, and on a phone.

    python docs/screenshots.py RUN [--out docs/images]

Needs Debian's chromium; the page is made again by `bitloss report` first.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from bitloss import finished

HERE = Path(__file__).parent
# The first screen: what a reader sees who opens the page.
VIEWS = {
    "light": {"viewport": {"width": 1200, "height": 840}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1200, "height": 840}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}


def picture(browser: Browser, page: Path, view: str, target: Path) -> None:
    """Take one picture."""
    with browser.new_context(**VIEWS[view]) as context:
        tab = context.new_page()
        tab.goto(page.as_uri())
        tab.screenshot(path=target)


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a finished run's directory")
    parser.add_argument("--out", type=Path, default=HERE / "images")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("error: chromium is not installed\nhint: sudo apt-get install chromium")
    arguments.out.mkdir(parents=True, exist_ok=True)
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        (page,) = finished.report(arguments.run, out=Path(folder, "report.html")).paths
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        for view in VIEWS:
            target = arguments.out / f"report-{view}.png"
            picture(browser, page, view, target)
            print(target)
        browser.close()


if __name__ == "__main__":
    main()
