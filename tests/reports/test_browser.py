"""The page in a browser, as its readers have it. Oracles: Chromium itself, and axe-core."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bitloss import finished
from example_store import write_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium to open the report with (apt-get install chromium)"
)
# Everything that a page could take for markup of its own, and text that breaks lines or boxes.
HOSTILE = (
    "<script>window.__hit=1</script><img src=x onerror=window.__hit=1><svg/onload=window.__hit=1>"
    '"\'><a href="javascript:window.__hit=1">a</a></style><style>*{display:none}</style>'
    "</script></details></table></svg><!-- ]]> {{ 7*7 }} {% raw %} ${window.__hit=1} \u202e\u2028"
    "<iframe src=\"javascript:parent.__hit=1\"></iframe><meta http-equiv=refresh content='0;x'>"
    f"{'long' * 200}\x00\x1b[31m"
)
NAMES = {"gptq-4": f"./gptq{HOSTILE[:300]}", "q8.gguf": "q8<b onclick=window.__hit=1>.gguf"}


def rename(run: Path) -> None:
    """Give variants, corpus, task and command hostile names too, wherever the manifest has them."""
    path = run / "manifest.json"

    def change(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {
                new: change(inner, new)
                for old, inner in value.items()
                for new in (NAMES.get(old, old),)
            }
        if isinstance(value, list):
            return [change(inner, key) for inner in value]
        if key == "name":
            return NAMES.get(value, value)
        return value + HOSTILE if key in ("command", "source", "license") else value

    manifest = change(json.loads(path.read_text()))
    lost = {"name": "awq-4<u>", "info": None, "recipe": None,
            "error": {"message": HOSTILE, "hint": HOSTILE}}  # fmt: skip
    manifest["variants"].append(lost)
    manifest["tasks"] = {f"sums{HOSTILE[:80]}": manifest["tasks"]["sums"]}
    manifest["corpora"] = {"wiki<i onclick=window.__hit=1>": manifest["corpora"]["wikitext-2"]}
    path.write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    write_run(folder / "plain", right="101111")
    write_run(folder / "hostile", right="101111", words=HOSTILE)
    rename(folder / "hostile")
    return {name: finished.report(folder / name).paths[0] for name in ("plain", "hostile")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api")
    # A sandbox of its own is more than Chromium gets where everything runs as root.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


Open = Callable[..., Any]


@pytest.fixture
def visit(browser: Browser, pages: dict[str, Path]) -> Open:
    """Opens one of the pages; fails if it logs, loads or opens anything of its own."""

    @contextmanager
    def opened(name: str = "plain", *, width: int = 1280, **options: Any) -> Iterator[Page]:
        size = {"width": width, "height": 900}
        with browser.new_context(viewport=size, **options) as context:
            page = context.new_page()
            told: list[str] = []
            page.on("console", lambda message: told.append(f"console: {message.text}"))
            page.on("pageerror", lambda fault: told.append(f"fault: {fault}"))
            page.on("request", lambda request: told.append(f"request: {request.url}"))
            page.on("dialog", lambda dialog: (told.append("dialog"), dialog.dismiss()))
            page.goto(pages[name].as_uri())
            yield page
            assert told == [f"request: {pages[name].as_uri()}"]
            assert page.url == pages[name].as_uri()

    return opened


def open_all(page: Page) -> None:
    page.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = true })")


CHARTS = "svg[role=img]:visible"
# Texts of a chart that cover each other, by more than the air around letters.
COVERED = """() => [...document.querySelectorAll('svg[role=img]')].filter(s => s.checkVisibility())
  .flatMap(svg => {
    const boxes = [...svg.querySelectorAll('text')]
      .map(t => [t.textContent, t.getBoundingClientRect()]);
    return boxes.flatMap(([one, a], i) => boxes.slice(i + 1).filter(([other, b]) =>
      Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 &&
      Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 5).map(([other]) => [one, other]));
  })"""


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_names_in_charts_do_not_cover_each_other(visit: Open, width: int) -> None:
    with visit(width=width) as page:
        assert page.evaluate(COVERED) == []


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_first_screen_has_the_answer_and_charts_have_the_width(visit: Open, width: int) -> None:
    with visit(width=width) as page:
        for part in (".choice .name", ".choice .facts-line", ".choice .lead"):
            box = page.locator(part).bounding_box()
            assert box is not None
            assert box["y"] + box["height"] < 844
        size = page.locator(".choice .name").evaluate(
            "e => parseFloat(getComputedStyle(e).fontSize)"
        )
        assert size >= 28
        column = page.locator("main").bounding_box()
        rows = page.locator(".charts.alone:visible")
        assert rows.count() >= 2
        for index in range(rows.count()):
            box = rows.nth(index).locator(CHARTS).bounding_box()
            assert box is not None
            assert column is not None
            assert box["width"] == pytest.approx(column["width"], abs=1)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_charts_and_tables_are_there(visit: Open, name: str, width: int) -> None:
    with visit(name, width=width) as page:
        charts = page.locator(CHARTS)
        assert charts.count() >= 4
        for index in range(charts.count()):
            box = charts.nth(index).bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) > 100
            assert charts.nth(index).locator("path, text").count() > 10
        assert page.locator("table:visible").count() >= 4
        assert page.locator("h1").count() == 1
        assert "q8" in page.locator("table").first.inner_text()


def test_every_fold_opens_from_the_keyboard(visit: Open) -> None:
    with visit() as page:
        folds = page.locator("details").count()
        assert folds >= 1
        found: set[str] = set()
        for _ in range(300):
            page.keyboard.press("Tab")
            place = page.evaluate(
                "() => { const e = document.activeElement; if (e.tagName != 'SUMMARY') "
                "return e.tagName; return String([...document.querySelectorAll('summary')]"
                ".indexOf(e)) }"
            )
            if place == "BODY":
                break
            if place.isdigit() and place not in found:
                found.add(place)
                before = page.evaluate("() => document.activeElement.parentElement.open")
                page.keyboard.press("Enter")
                after = page.evaluate("() => document.activeElement.parentElement.open")
                assert (before, after) in {(False, True), (True, False)}
                if before:
                    page.keyboard.press("Enter")  # open again: folds may lie within
        assert len(found) == folds


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_nothing_keeps_people_from_reading(visit: Open, scheme: str, name: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    # axe is a script, which the page's own policy forbids.
    with visit(name, color_scheme=scheme, bypass_csp=True) as page:
        open_all(page)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_dark_is_dark(visit: Open) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        with visit(color_scheme=scheme) as page:
            colour = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
            shades[scheme] = sum(int(part) for part in colour.strip("rgb()").split(",")[:3])
    assert shades["dark"] < 200 < 600 < shades["light"]


def test_hostile_output_is_text(visit: Open) -> None:
    with visit("hostile", bypass_csp=True) as page:  # escaped, whatever the policy stops besides
        open_all(page)
        for element in page.locator("th[scope=row]:visible").all():
            element.click()
        page.wait_for_timeout(200)
        assert page.evaluate("() => window.__hit") is None
        assert (
            page.locator("script, iframe, img[onerror], [onclick], meta[content*=x i]").count() <= 1
        )
        assert page.locator("a[href^=javascript]").count() == 0
        text = page.content()
        assert "&lt;script&gt;window.__hit=1&lt;/script&gt;" in text
        assert "49" not in page.title()


def test_policy_stops_what_would_slip_through(pages: dict[str, Path], browser: Browser) -> None:
    spoilt = pages["plain"].with_name("spoilt.html")
    text = pages["plain"].read_text()
    spoilt.write_text(text.replace("<h1", "<script>window.__hit=1</script><img src=/x><h1", 1))
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(spoilt.as_uri())
        assert page.evaluate("() => window.__hit") is None


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_phone_scrolls_one_way(visit: Open, name: str) -> None:
    with visit(name, width=390) as page:
        open_all(page)
        wide = page.evaluate(
            "() => [...document.querySelectorAll('body *')].filter(e => "
            "e.getBoundingClientRect().right > 391 && !e.closest('svg') && ![...(function*(){ let "
            "p = e.parentElement; while (p) { yield p; p = p.parentElement } })()].some(p => "
            "['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX)))"
            ".map(e => e.outerHTML.slice(0, 120))"
        )
        assert wide == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_without_javascript_everything_is_there(visit: Open) -> None:
    with visit(java_script_enabled=False) as page:
        assert page.locator("table:visible").count() >= 4
        assert page.locator(CHARTS).count() >= 4
        fold = page.locator("details").first
        fold.locator("summary").first.click()
        assert fold.get_attribute("open") is not None


def test_page_is_one_file(pages: dict[str, Path]) -> None:
    text = pages["plain"].read_text()
    assert "<script" not in text
    assert not re.search(r"""(src|href|srcset|action)=["']?(?!["']?#)|url\((?!#)|@import""", text)
    assert len(text) < 1_000_000
