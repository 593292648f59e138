"""Tables hold the result's numbers, and names cannot break them."""

from __future__ import annotations

from bitloss import wording as fmt
from bitloss.results import Comparison, NoiseFloor
from bitloss.tables.comparison import all_tables, corpus_table


def test_plain_text_has_every_row(comparison: Comparison) -> None:
    text = str(comparison)
    corpus = comparison.variants[0].corpora["wikitext-2"]
    line = next(line for line in text.splitlines() if line.startswith("gptq-4"))
    divergence = fmt.divergence_interval(corpus.kl_divergence.estimate)
    assert fmt.perplexity(corpus.perplexity) in line
    assert str(divergence) in line
    assert fmt.share(corpus.top1_agreement.value) in line
    assert "250 MB" in line
    assert "org/model (reference)" in text
    assert "strided (max_length 32, stride 16), 384 of 1,600 tokens, bf16" in text
    assert "error: expected rows divisible by 128, got 172\nhint: use gptq-4" in text


def test_notes_say_what_was_rescored_and_the_floor(comparison: Comparison) -> None:
    table = corpus_table(comparison, "wikitext-2")
    assert "24 of 100 windows, drawn at random (seed 0)" in table.notes  # once, not for every row
    assert sum("drawn" in note for note in table.notes) == 1
    assert any("fp32 on 12 windows (192 tokens)" in note for note in table.notes)
    assert table.rows[-1] == {"model": "noise floor, bf16", "divergence": "9.4e-05"}


def test_below_the_floor_is_said(comparison: Comparison) -> None:
    first = comparison.variants[0]
    corpus = first.corpora["wikitext-2"]
    floor = NoiseFloor(kl_divergence=1.0, dtype="bf16", n_scored=10)
    corpora = {"wikitext-2": corpus.model_copy(update={"noise_floor": floor})}
    variants = (first.model_copy(update={"corpora": corpora}),)
    table = corpus_table(comparison.model_copy(update={"variants": variants}), "wikitext-2")
    assert any(note.startswith("gptq-4: within the noise floor") for note in table.notes)
    assert [table.rows[index]["model"] for index in sorted(table.muted)] == [
        "noise floor, bf16", "noise floor, bf16",
    ]  # fmt: skip


def test_a_corpus_has_its_own_table(comparison: Comparison) -> None:
    reference = comparison.reference
    corpora = {**reference.corpora, "code": reference.corpora["wikitext-2"]}
    both = comparison.model_copy(
        update={"reference": reference.model_copy(update={"corpora": corpora})}
    )
    first, second = all_tables(both)
    assert first.title.startswith("wikitext-2: ")
    assert second.title.startswith("code: ")
    assert len(second.rows) == 2  # the reference and its noise floor: no variant was scored on it


def test_html_is_escaped(comparison: Comparison) -> None:
    first, *rest = comparison.variants
    evil = first.model_copy(update={"name": "<script>alert(1)</script>"})
    html = comparison.model_copy(update={"variants": (evil, *rest)})._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<tr>") == 5  # head, reference, two variants, noise floor


def test_nothing_scored(comparison: Comparison) -> None:
    reference = comparison.reference.model_copy(update={"corpora": {}})
    empty = comparison.model_copy(update={"reference": reference, "variants": ()})
    assert str(empty) == "org/model: nothing was scored"
    assert repr(empty) == "<Comparison of org/model with: nothing>"
