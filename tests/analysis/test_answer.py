"""The answer in words, and the table of verdicts. Oracle: sentences that the figures demand."""

from __future__ import annotations

from pathlib import Path

from bitloss.analysis.conclude import conclude
from bitloss.analysis.loss_ranking import ItemLosses
from bitloss.expectations import load_expectations
from bitloss.results import Ability, Comparison, VariantResult
from bitloss.tables.comparison import html, plain
from bitloss.tables.verdicts import closing, verdict_tables
from example_run import make_comparison
from verdict_parts import capability, corpus, losses, variant

TEXT = "text completion"


def concluded(
    *variants: VariantResult,
    found: ItemLosses | None = None,
    expectations: Path | None = None,
    abilities: dict[str, Ability] | None = None,
) -> Comparison:
    judged, answer = conclude(variants, lambda _: found, load_expectations(expectations), abilities)
    return make_comparison().model_copy(update={"variants": judged, "answer": answer})


def text(*variants: VariantResult, found: ItemLosses | None = None) -> str:
    return " ".join(closing(concluded(*variants, found=found)))


def test_the_smallest_acceptable_variant_is_recommended() -> None:
    found = concluded(
        variant("q8", corpora={"wiki": corpus(1.001, 1.0, 1.002)}, file_bytes=9000),
        variant("q4", corpora={"wiki": corpus(1.06, 1.055, 1.065)}, file_bytes=5000),
        variant("q2", corpora={"wiki": corpus(1.5, 1.4, 1.6)}, file_bytes=3000),
    )
    assert found.answer is not None
    assert found.answer.recommended == "q4"
    assert found.answer.text == (
        "Ship q4 (5.0 kB), the smallest acceptable variant: its perplexity is 1.060 times [1.055, "
        "1.065] the reference's on wiki (`usually`). q2 is 2.0 kB smaller, but is "
        "`problematic`, as its perplexity is 1.500 times [1.400, 1.600] the reference's on wiki. "
        "q8 is `yes`; q2 is `problematic`. q2 is worse than expected for 4-bit GPTQ: its "
        "perplexity is 1.500 times [1.400, 1.600] the reference's on wiki, expected 1.05 to 1.10."
    )


def test_levels_are_told_from_the_best_to_the_worst() -> None:
    found = text(
        variant("q2", corpora={"wiki": corpus(1.5, 1.4, 1.6)}),
        variant("q8", corpora={"wiki": corpus(1.001, 1.0, 1.002)}, file_bytes=9000),
        variant("q4", corpora={"wiki": corpus(1.06, 1.055, 1.065)}, file_bytes=500),
    )
    assert "q8 is `yes`; q2 is `problematic`." in found


def test_one_variant() -> None:
    assert text(variant("q4", corpora={"wiki": corpus(1.06, 1.055, 1.065)})).startswith(
        "q4 (1.0 kB) is acceptable: "
    )
    assert text(variant("q4", corpora={"wiki": corpus(1.5, 1.4, 1.6)})).startswith(
        "q4 is not acceptable: it is `problematic`, as its perplexity is 1.500 times "
    )


def test_perplexity_does_not_vouch_for_fidelity() -> None:
    """A 2-bit model whose perplexity hardly moved and whose most likely token often differs."""
    q2 = corpus(1.01, 1.0, 1.02, top1=(0.82, 0.81, 0.83), kl=(0.05, 0.045, 0.055))
    q4 = corpus(1.06, 1.055, 1.065, top1=(0.93, 0.92, 0.94))
    found = concluded(
        variant("q2", format="gguf-q2_k", bits=2.0, corpora={"wiki": q2}, file_bytes=3000),
        variant("q4", corpora={"wiki": q4}, file_bytes=5000),
    )
    assert found.answer is not None
    assert found.answer.recommended == "q4"
    assert found.answer.text == (
        "Ship q4 (5.0 kB), the smallest acceptable variant: its perplexity is 1.060 times [1.055, "
        "1.065] the reference's on wiki (`usually`). q2 is 2.0 kB smaller, but is "
        "`marginal`, as its most likely token differs at 18.0% [17.0%, 19.0%] of positions on "
        "wiki, although its perplexity hardly moved. q2 is `marginal`. By perplexity alone, q2 "
        "would be acceptable."
    )
    (table,) = verdict_tables(found)
    shown = [
        [row[key] for key in ("model", "verdict", "decided", "standing")] for row in table.rows
    ]
    assert shown == [
        ["q2", "marginal", "same top-1", "better"],  # 2 bits are expected to be problematic
        ["q4", "usually", "PPL", "as expected"],
    ]
    assert table.notes == (
        "q2 and q4: results are of these files; another copy made by the same method may lose more "
        "or less",
        "q2: marginal: its most likely token differs at 18.0% [17.0%, 19.0%] of positions on "
        "wiki, although its perplexity hardly moved",
    )


def test_alone_it_is_not_recommended_either() -> None:
    bad = corpus(1.01, 1.0, 1.02, top1=(0.82, 0.81, 0.83))
    found = concluded(variant("q4", corpora={"wiki": bad}))
    assert found.answer is not None
    assert found.answer.recommended is None
    assert found.answer.text.startswith(
        "q4 is not acceptable: it is `marginal`, as its most likely token differs at 18.0% "
    )
    assert found.variants[0].verdict is not None
    # 1.02 is below GPTQ's 1.05, and nobody is to be praised for it.
    assert found.variants[0].verdict.standing is None


def test_every_axis_has_its_own_words() -> None:
    for changes, words in (
        ({"kl": (0.15, 0.14, 0.16)}, "it diverges from the reference by 0.150 nats per token"),
        (
            {"overlap": (0.9, 0.89, 0.91)},
            "10.0% [9.0%, 11.0%] of its next-token probability differs",
        ),
    ):
        assert words in text(variant("q4", corpora={"wiki": corpus(1.01, 1.0, 1.02, **changes)}))
    hidden = corpus(1.08, 1.07, 1.09, overlap=(0.9, 0.89, 0.91))
    assert "although its perplexity alone would be `usually`" in text(
        variant("q4", corpora={"wiki": hidden})
    )


def test_what_more_text_could_decide_is_not_denied() -> None:
    assert text(variant("q4", corpora={"wiki": corpus(1.1, 1.0, 1.2)})).startswith(
        "q4 (1.0 kB) is not shown to be acceptable: its perplexity is 1.100 times "
    )


def test_one_window_is_no_verdict() -> None:
    assert "an interval takes more windows than were scored" in text(
        variant("q4", corpora={"wiki": corpus(1.1, None, None)})
    )


def test_undecided_capabilities_are_told() -> None:
    found = text(
        variant(
            corpora={"wiki": corpus(1.0, 1.0, 1.01)},
            capabilities={
                "math": capability((0.0, -0.1, 0.1), n_scored=200),
                "code": capability((-0.02, -0.1, 0.1), n_scored=200),
                "logic": capability((0.0, -0.01, 0.01)),
            },
        )
    )
    assert (
        "is not shown to be acceptable: its perplexity is 1.000 times [1.000, 1.010] the "
        "reference's on wiki (`yes`). Its largest loss is 2.0 points [-10.0, 10.0] on "
        "code. Not shown to be kept within 2 points: math (0.0 points [-10.0, 10.0]; about 5,000 "
        "items would decide, 200 were evaluated) and code (2.0 points [-10.0, 10.0]; too close "
        "to the margin for more items to decide)." in found
    )


def test_capabilities_within_their_margins_are_told() -> None:
    found = text(
        variant(
            corpora={"wiki": corpus(1.0, 1.0, 1.01)},
            capabilities={"math": capability((0.0, -0.01, 0.01))},
        )
    )
    assert "(`yes`); it keeps every capability within 2 points." in found


def test_a_capability_over_its_margin_denies() -> None:
    found = text(
        variant(
            "q4",
            corpora={"wiki": corpus(1.0, 1.0, 1.01)},
            capabilities={"math": capability((-0.1, -0.14, -0.06), p_value=0.001)},
        )
    )
    assert found.startswith(
        "q4 is not acceptable: it loses 10.0 points [6.0, 14.0] on math. q4 is `yes`. Losses "
        "beyond the margin: q4 on math (10.0 [6.0, 14.0] points)."
    )
    assert "kept within" not in found


def test_what_suffers_most_over_all() -> None:
    means = {TEXT: {"a": 0.0, "b": 0.0}, "math": {"a": 0.1, "b": 0.2}}
    means["logic"] = means[TEXT]
    capabilities = {name: capability() for name in means}
    found = text(
        *(
            variant(name, corpora={"wiki": corpus(1.0, 1.0, 1.01)}, capabilities=capabilities)
            for name in "ab"
        ),
        found=losses(means),
    )
    # 15 points, if two items are added to sixty: the limits are about 14.5 -+ 1.5.
    assert ("Of 3 capabilities, math suffers most: the 2 variants lose 15.0 [13.") in found
    assert "Common claims supported: math suffers severely (15.0 [13." in found
    assert found.endswith("; undecided: logic holds up.")


def test_a_copy_of_the_reference() -> None:
    same = {TEXT: {"copy": 0.0}, "math": {"copy": 0.0}}
    unchanged = capability((0.0, 0.0, 0.0))
    found = text(
        variant(
            "copy", corpora={"wiki": corpus(1, 1, 1)}, capabilities=dict.fromkeys(same, unchanged)
        ),
        found=losses(same),
    )
    assert "No loss: copy scores as the reference does on every item." in found
    assert "its perplexity is exactly the reference's on wiki" in found


def test_failures_are_told_and_not_judged() -> None:
    found = concluded(variant("a", corpora={"wiki": corpus(1, 1, 1)}), variant("b", failed=True))
    assert found.answer is not None
    assert found.answer.text.endswith("b failed, so it has no verdict.")
    assert found.variants[1].verdict is None
    assert text(variant("b", failed=True)).startswith("No variant could be judged.")


def test_no_variants_no_answer() -> None:
    assert concluded().answer is None
    assert closing(concluded()) == ()
    assert verdict_tables(concluded()) == ()


def test_the_table() -> None:
    found = concluded(
        variant("./models/q8", format="gguf-q8_0", bits=8, corpora={"wiki": corpus(1.01, 1, 1.02)}),
        variant("q4", corpora={"wiki": corpus(1.1, 1.04, 1.16)}),
        variant("odd", format="odd", corpora={"wiki": corpus(1.5, 1.4, 1.6)}),
        variant("failed", failed=True),
    )
    (table,) = verdict_tables(found)
    assert table.title == "verdicts: the worst of perplexity, same top-1, overlap and KLD on wiki"
    shown = [
        [row[key] for key in ("model", "verdict", "expected", "standing")] for row in table.rows
    ]
    assert shown == [
        ["q8", "yes", "1.03-1.06", "better"],
        ["q4", "marginal?", "1.05-1.10", "as expected"],
        ["odd", "problematic", "-", "-"],
    ]
    assert table.notes == (
        "?: the other bound would give a better verdict; score more text to settle it",
        "q8, q4 and odd: results are of these files; another copy made by the same method may lose "
        "more or less",
    )
    assert not {"worst", "decided"} & set(table.columns)


def test_the_table_names_the_worst_capability() -> None:
    means = {TEXT: {"a": 0.01, "b": 0.01}, "math": {"a": 0.04, "b": 0.01}}
    fell = {TEXT: capability(), "math": capability((-0.05, -0.06, -0.04))}
    ones = [
        variant("a", capabilities=fell),
        variant("b", capabilities=dict.fromkeys(means, capability())),
    ]
    (table,) = verdict_tables(concluded(*ones, found=losses(means)))
    assert [row["worst"] for row in table.rows] == ["math", "undecided"]
    assert [row["verdict"] for row in table.rows] == ["no", "yes"]
    assert not {"relative", "expected"} & set(table.columns)


def test_the_table_says_what_the_items_can_show() -> None:
    # Half of the widest interval of each capability: (3 + 1) / 2 and (1 + 1) / 2 points.
    ones = {"math": capability((-0.01, -0.03, 0.01)), "code": capability((0.0, -0.01, 0.01))}
    narrower = {"math": capability((0.0, -0.01, 0.01)), "code": capability((0.0, -0.01, 0.01))}
    (table,) = verdict_tables(
        concluded(variant("a", capabilities=ones), variant("b", capabilities=narrower))
    )
    note = "smallest loss that the items can show, in points: math 2.0, code 1.0"
    assert note in table.notes
    assert [row["verdict"] for row in table.rows] == ["not shown", "yes"]
    assert [row["decided"] for row in table.rows] == ["math", "-"]


def test_a_gain_beyond_chance_is_suspicious() -> None:
    gain = capability((0.05, 0.02, 0.08), p_value=0.001)
    found = text(variant("q4", capabilities={"math": gain}))
    assert "q4 scores higher on math by 5.0 [2.0, 8.0] points. A gain beyond chance is " in found
    assert "suspicious" not in text(variant("q4", capabilities={"math": capability()}))


def test_tables_and_answer_stand_in_every_face() -> None:
    found = concluded(variant("<q4>", corpora={"wikitext-2": corpus(1.06, 1.055, 1.065)}))
    assert found.answer is not None
    assert "verdicts: the worst of perplexity" in plain(found)
    assert " ".join(plain(found).split()).endswith(found.answer.text)
    assert "&lt;q4&gt; (1.0 kB) is acceptable" in html(found)


def test_the_users_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "strict.yaml"
    path.write_text("levels: {yes: 1.001}\n")
    found = concluded(variant(corpora={"wiki": corpus(1.01, 1.0, 1.02)}), expectations=path)
    assert found.answer is not None
    assert found.answer.expectations[0] == str(path)
    assert found.variants[0].verdict is not None
    assert found.variants[0].verdict.level == "usually"
    assert verdict_tables(found)[0].notes[-1].endswith("strict.yaml")


def test_verdicts_survive_the_document(tmp_path: Path) -> None:
    means = {TEXT: {"a": 0.01}, "math": {"a": 0.04}}
    one = variant("a", capabilities=dict.fromkeys(means, capability()), digest="d" * 64)
    found = concluded(one, found=losses(means))
    found.write(tmp_path / "comparison.json")
    assert Comparison.load(tmp_path) == found


def ability(score: float, chance: float, *, measurable: bool) -> Ability:
    return Ability(
        score=score, chance=chance, p_value=0.01 if measurable else 0.5, measurable=measurable
    )


def test_what_the_reference_cannot_do_is_not_ranked_judged_or_claimed() -> None:
    means = {TEXT: {"q4": 0.01}, "math": {"q4": 0.9}, "logic": {"q4": 0.02}}
    changes = {TEXT: capability(), "math": capability((-0.1, -0.14, -0.06), p_value=0.001)}
    found = concluded(
        variant(
            "q4",
            corpora={"wiki": corpus(1.0, 1.0, 1.01)},
            capabilities={**changes, "logic": capability()},
        ),
        found=losses(means),
        abilities={
            TEXT: ability(0.4, 0.0, measurable=True),
            "math": ability(0.225, 0.25, measurable=False),
            "logic": ability(0.5, 0.25, measurable=True),
        },
    )
    (judged,) = found.variants
    assert judged.not_measurable == ("math",)
    assert judged.verdict is not None
    assert judged.verdict.capabilities["math"].outcome == "not measurable"
    assert judged.loss_ranking is not None
    assert {one.capability for one in judged.loss_ranking.ranking} == {TEXT, "logic"}
    assert [one.text for one in judged.loss_ranking.claims] == ["logic holds up"]
    assert found.answer is not None
    assert found.answer.recommended == "q4"
    assert (
        "Not measurable: math (22.5%; guessing 25.0%). The reference is not shown to do better "
        "than guessing there, so no variant can be shown to lose anything."
        in found.answer.paragraphs
    )
    assert found.answer.text.count("math") == 1
    assert "it keeps every measurable capability within 2 points." in found.answer.text


def test_an_ability_within_the_margin_cannot_be_kept() -> None:
    found = concluded(
        variant(corpora={"wiki": corpus(1.0, 1.0, 1.01)}, capabilities={"math": capability()}),
        abilities={"math": ability(0.01, 0.0, measurable=True)},
    )
    assert found.variants[0].not_measurable == ("math",)
    assert "it keeps" not in closing(found)


def test_a_reference_that_guesses_everything_has_no_other_answer() -> None:
    found = concluded(
        variant(capabilities={"math": capability(), "logic": capability()}),
        abilities={name: ability(0.25, 0.25, measurable=False) for name in ("math", "logic")},
    )
    assert found.answer is not None
    assert found.answer.recommended is None
    assert found.answer.paragraphs == (
        "Not measurable: math (25.0%; guessing 25.0%) and logic (25.0%; guessing 25.0%). The "
        "reference is not shown to do better than guessing there, so no variant can be shown to "
        "lose anything.",
    )


def test_a_text_on_which_the_reference_guesses_decides_nothing() -> None:
    strange = corpus(1.5, 1.4, 1.6).model_copy(update={"out_of_domain": True})
    told = (
        "Out of domain: odd, where the reference does worse than a uniform guess over its "
        "vocabulary."
    )
    alone = concluded(variant(corpora={"odd": strange}))
    assert alone.answer is not None
    assert alone.answer.paragraphs == (told,)
    beside = concluded(variant("q4", corpora={"odd": strange, "wiki": corpus(1.0, 1.0, 1.01)}))
    assert beside.answer is not None
    assert beside.answer.recommended == "q4"
    assert told in beside.answer.paragraphs
