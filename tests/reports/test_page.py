"""The page as text. Oracles: the result's own document, and the standard library's HTML parser.

`test_browser.py` opens it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import MissingDependency, StorageError
from bitloss.reports.details import Details, read_details
from bitloss.reports.flips import Flip, FlipList
from bitloss.reports.page import page, write_page
from bitloss.reports.page.cells import join
from bitloss.results import Claim, Comparison, Estimate, LossRanking, RankedCapability
from bitloss.runner import RunStore
from example_run import make_comparison
from page_reader import Element, agrees, contrast, lookup, read

SECTIONS = [
    "answer", "size", "capabilities", "divergence", "text", "flips", "cost", "method", "command",
]  # fmt: skip
HOSTILE = (
    "<script>alert(1)</script></style></details><img src=x onerror=alert(1)>\"'`{{ 7*7 }}"
    "{% raw %}&amp;<!-- ]]>\x00\x1b[0m\u202e"
)


def estimate(*values: float) -> Estimate:
    return Estimate(value=values[0], low=values[1], high=values[2])


def enriched(comparison: Comparison) -> Comparison:
    """The example with a ranking and claims, which it is too small to have."""
    assert comparison.answer is not None
    ranking = tuple(
        RankedCapability(
            capability=name,
            loss=estimate(lost, lost - 0.03, lost + 0.03),
            excess=None if name == "logic" else estimate(lost - 0.02, lost - 0.06, lost + 0.02),
            probability_worst=worst,
        )
        for name, lost, worst in (("math", 0.0704, 0.975), ("logic", 0.0144, 0.025))
    )
    claims = (
        Claim(text="math suffers", outcome="supported", measured=estimate(0.07, 0.041, 0.101)),
        Claim(text="logic holds up", outcome="undecided", reason="nothing to compare with"),
    )
    found = LossRanking(baseline="logic", ranking=ranking, worst="math", claims=claims)
    return comparison.model_copy(
        update={"answer": comparison.answer.model_copy(update={"loss_ranking": found})}
    )


@pytest.fixture(scope="module")
def comparison(run: Path) -> Comparison:
    return enriched(Comparison.load(run))


@pytest.fixture(scope="module")
def details(run: Path) -> Details:
    store = RunStore(run)
    return read_details(store, store.read_manifest())


@pytest.fixture(scope="module")
def text(comparison: Comparison, details: Details) -> str:
    return page(comparison, details)


@pytest.fixture(scope="module")
def elements(text: str) -> list[Element]:
    return read(text)


# Every figure can be traced ----------------------------------------------------------------


def test_paths_of_names_with_dots() -> None:
    path = join("variants", 0, "corpora", 'a."b".txt', "perplexity")
    document = {"variants": [{"corpora": {'a."b".txt': {"perplexity": 5}}}]}
    assert lookup(document, path) == 5


def test_every_figure_is_one_of_the_result(elements: list[Element], comparison: Comparison) -> None:
    document = json.loads(comparison.to_json())
    traced = [one for one in elements if "data-path" in one.attributes]
    for one in traced:
        path, unit = one.attributes["data-path"], one.attributes.get("data-unit", "")
        value = lookup(document, path)
        assert agrees(one.text, value, unit, document["reference"]), (path, one.text, value)
    paths = {one.attributes["data-path"] for one in traced}
    wanted = {
        "variants.0.corpora.wikitext-2.kl_divergence.mean",
        "variants.0.corpora.wikitext-2.kl_divergence.high",
        "variants.0.verdict.expected.low",
        "variants.0.capabilities.math.difference.low",
        "variants.0.tasks.sums.flips.right_to_wrong",
        "reference.tasks.sums.n_total",
        "answer.loss_ranking.ranking.0.excess.value",
        "answer.loss_ranking.claims.0.measured.value",
        "answer.paragraphs.0",
    }
    assert wanted <= paths


def test_no_number_stands_in_a_table_without_its_place(elements: list[Element]) -> None:
    """Only the stretches of the text come from records that the document does not have."""

    def untraced(one: Element) -> str:
        if "data-path" in one.attributes:
            return ""
        return "".join(c if isinstance(c, str) else untraced(c) for c in one.children)

    cells = [one for one in elements if one.tag == "td" and "number" in one.classes]
    assert len(cells) > 60
    for cell in cells:
        if not cell.within(id="text"):
            assert not re.search(r"\d", untraced(cell)), cell.text


def test_agreement_is_strict() -> None:
    reference = {"file_bytes": 10_000_000}
    assert agrees("0.031", 0.0314, "", reference)
    assert not agrees("0.031", 0.0316, "", reference)
    assert agrees("-2.0", -0.0196, "points", reference)
    assert not agrees("2.0", -0.0196, "points", reference)
    assert agrees("73.2%", 2_680_000, "saved", reference)


# What it must not do -----------------------------------------------------------------------


def test_policy_lets_in_nothing_but_the_page_s_own_style(elements: list[Element]) -> None:
    (policy,) = (
        one.attributes["content"]
        for one in elements
        if one.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    (style,) = (one.text for one in elements if one.tag == "style")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert "url(" not in style
    assert "@import" not in style


def test_nothing_is_loaded_or_run(elements: list[Element]) -> None:
    assert not {"script", "link", "iframe", "object", "embed", "img", "form"} & {
        one.tag for one in elements
    }
    for one in elements:
        assert not any(key == "style" or key.startswith("on") for key in one.attributes)
        for key in ("src", "srcset", "href", "xlink:href", "action", "data", "poster"):
            assert one.attributes.get(key, "#").startswith("#"), one


def hostile(comparison: Comparison, details: Details) -> tuple[Comparison, Details]:
    """Hostile words in every place that a run, a model or a user's file may fill."""

    document = json.loads(comparison.to_json())
    for model in (document["reference"], *document["variants"]):
        for key in ("name", "format", "architecture", "calibration"):
            model[key] = f"{model[key]}{HOSTILE}"
    document["variants"][0]["recipe"] = {HOSTILE: HOSTILE}
    document["variants"].append(
        {"name": f"x{HOSTILE}", "status": "failed", "error": {"message": HOSTILE, "hint": HOSTILE}}
    )
    document["reference"]["corpora"]["wikitext-2"] |= {"source": HOSTILE, "notes": [HOSTILE]}
    document["reference"]["tasks"]["sums"] |= {
        "source": HOSTILE, "license": HOSTILE, "metric": HOSTILE, "notes": [HOSTILE],
    }  # fmt: skip
    document["answer"]["paragraphs"] = [HOSTILE]
    document["answer"]["loss_ranking"]["claims"][0] |= {"text": HOSTILE, "reason": HOSTILE}
    document["missing"] = [HOSTILE]
    document["environment"] |= {"command": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    h = HOSTILE
    flip = Flip("right to wrong", h, h, h, (h,), h, h, h, h, h)
    bad = FlipList((flip,), 1, 0)
    return Comparison.from_json(json.dumps(document)), Details(
        quantiles=renamed(details.quantiles),
        loss_traces=renamed(details.loss_traces),
        flips={"sums": {f"gptq-4{HOSTILE}": bad}, HOSTILE: {HOSTILE: bad}},
    )


def renamed(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        corpus: {f"{name}{HOSTILE}": value for name, value in of.items()}
        for corpus, of in found.items()
    }


def test_words_of_models_and_users_are_never_markup(
    comparison: Comparison, details: Details, elements: list[Element]
) -> None:
    found = page(*hostile(comparison, details))
    shown = read(found)
    usual = {one.tag for one in elements} | {"aside"}
    assert {one.tag for one in shown} <= usual
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", found)
    texts = [one.text for one in shown if one.tag == "bdi" or "quoted" in one.classes]
    assert any("<script>alert(1)</script></style>" in one and "{{ 7*7 }}" in one for one in texts)
    assert sum(one.tag == "style" for one in shown) == 1
    test_nothing_is_loaded_or_run(shown)


# What it has -------------------------------------------------------------------------------


def test_sections_in_their_order(elements: list[Element]) -> None:
    assert [one.attributes["id"] for one in elements if one.tag == "section"] == SECTIONS
    links = [one.attributes["href"] for one in elements if one.tag == "a"]
    assert links == [f"#{name}" for name in SECTIONS]


def test_charts_have_names_that_say_what_is_to_be_seen(elements: list[Element]) -> None:
    drawn = [one for one in elements if one.tag == "svg" and "aria-hidden" not in one.attributes]
    assert all(one.attributes["role"] == "img" for one in drawn)
    names = [one.attributes["aria-label"] for one in drawn]
    # Each for a desk and for a phone, of which a reader has one.
    assert names[::2] == names[1::2]
    wanted = (
        "KL divergence against file size, wikitext-2. From 0 (q8.gguf) to ",
        "Relative perplexity against file size, wikitext-2. From ",
        "Mean loss over capabilities against file size. From ",
        "Quantiles of the KL divergence by token, wikitext-2. 99% of the tokens diverge by less",
        "Loss along the text, variant minus reference, wikitext-2. ",
    )
    assert len(names) == 2 * len(wanted)
    for name, start in zip(names[::2], wanted, strict=True):
        assert name.startswith(start)


def bare(comparison: Comparison, **changes: Any) -> Comparison:
    return Comparison.from_json(json.dumps({**json.loads(comparison.to_json()), **changes}))


def parts(comparison: Comparison, *left_out: str) -> Comparison:
    """Without what is named, in the reference and the variants."""
    document = json.loads(comparison.to_json())
    for model in (document["reference"], *document["variants"]):
        for key in left_out:
            model[key] = {} if key == "corpora" else None
        model.pop("verdict", None)
    return Comparison.from_json(json.dumps(document | {"answer": None}))


def test_a_reference_alone(comparison: Comparison) -> None:
    nothing = parts(bare(comparison, variants=[]), "corpora", "tasks")
    found = read(page(nothing, Details()))
    assert [one.attributes["id"] for one in found if one.tag == "section"] == SECTIONS
    aside = next(one.text for one in found if one.tag == "aside")
    for said in ("No variant.", "No text.", "No tasks."):
        assert said in aside


def test_tasks_only(comparison: Comparison, details: Details) -> None:
    found = read(page(parts(comparison, "corpora"), replace(details, quantiles={}, loss_traces={})))
    assert not any(one.tag == "svg" for one in found)  # what was judged was taken out
    assert any("heat5" in one.classes or "heat4" in one.classes for one in found)
    assert any("No corpus was scored." in one.text for one in found if one.tag == "section")


def test_text_only_and_a_failed_variant() -> None:
    found = read(page(make_comparison(), Details()))
    aside = next(one.text for one in found if one.tag == "aside")
    assert "awq-4 failed. expected rows divisible by 128, got 172 use gptq-4" in " ".join(
        aside.split()
    )
    drawn = [one for one in found if one.tag == "svg" and "aria-hidden" not in one.attributes]
    assert len(drawn) == 2 * 2  # no records, no lines
    assert any("not available" in one.text for one in found if one.tag == "p")


def test_two_colour_schemes_can_be_read(text: str) -> None:
    """Text on every ground has the contrast of WCAG 2.2, 1.4.3: 4.5 to 1."""
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    light, dark = style[1].split("@media screen and (prefers-color-scheme:dark)", 1)
    for scheme in (light, dark.split("\n*{", 1)[0]):
        colours = dict(re.findall(r"--([\w]+):(#[0-9a-f]{6})\b", scheme))
        pairs = [(f"on{n}", f"heat{n}") for n in range(7)]
        inks = ("ink", "muted", "accent", "yes", "usually", "marginal", "problematic")
        pairs += [(ink, ground) for ink in inks for ground in ("page", "soft")]
        for ink, ground in pairs:
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)


# Writing -----------------------------------------------------------------------------------


def test_file_is_written_whole(comparison: Comparison, tmp_path: Path, text: str) -> None:
    target = tmp_path / "report.html"
    assert write_page(make_comparison(), Details(), target) == target
    assert target.read_text("utf-8").startswith("<!doctype html>")
    assert target.stat().st_size < 5_000_000 > len(text.encode())
    with pytest.raises(StorageError, match="cannot write"):
        write_page(parts(comparison, "corpora"), Details(), tmp_path / "none" / "report.html")
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_same_run_same_bytes(comparison: Comparison, details: Details, text: str) -> None:
    assert page(comparison, details) == text


def test_without_the_template_engine(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "bitloss.reports.page.compose")
    monkeypatch.delitem(sys.modules, "bitloss.reports.page.shell")
    with pytest.raises(MissingDependency, match="jinja2"):
        page(comparison, Details())
