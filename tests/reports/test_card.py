"""Model cards. Oracles: huggingface_hub's own reading of them, and the bytes that were there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from bitloss.errors import DataError, UnknownName, UsageError
from bitloss.reports.card import card_content, section
from bitloss.reports.card_file import BEGIN, END, new_card, update_file, updated_card
from bitloss.reports.card_metadata import metadata
from bitloss.reports.plug_facts import corpus_facts, task_facts
from bitloss.results import Comparison
from bitloss.results.tasks import VariantTask
from example_store import write_run

README = """---
license: no   # kept as it stands
tags:
  - gguf
base_model:
- other/model
# of others
model-index:
- name: theirs
  results:
  - task: {type: text-generation}
    dataset: {name: GLUE, type: glue, args: {n: 3}}
    metrics:
    - {type: accuracy, value: 0.5, name: acc}
# the end
language: en
---
# A model

Text with --- and | signs.
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return write_run(tmp_path_factory.mktemp("card") / "run")


def results_of(card: str) -> dict[tuple[str, str], Any]:
    return {(r.dataset_name, r.metric_type): r for r in ModelCard(card).data.eval_results}


def test_hub_reads_what_was_measured(run: Comparison) -> None:
    card = new_card(card_content(run, ["gptq-4"]))
    data = ModelCard(card).data
    assert (data.base_model, data.get("base_model_relation")) == ("org/model", "quantized")
    assert data.model_name == "model-gptq-4"
    found = results_of(card)
    variant = run.variants[0]
    relative = variant.corpora["wikitext-2"].relative_perplexity
    result = found["WikiText-2", "relative_perplexity"]
    assert result.metric_value == pytest.approx(relative.value, rel=1e-5)
    assert result.metric_args == {
        "low_95": pytest.approx(relative.low, rel=1e-5),
        "high_95": pytest.approx(relative.high, rel=1e-5),
    }
    assert result.dataset_type == "Salesforce/wikitext"
    assert result.dataset_args["protocol"] == "strided"
    assert found["sums", "accuracy"].metric_value == pytest.approx(4 / 6, rel=1e-5)
    assert found["sums", "accuracy"].dataset_args["num_few_shot"] == 2
    assert found["sums", "gold_kl_divergence"].metric_value == pytest.approx(0.02)
    assert all(r.verified is None and r.verify_token is None for r in found.values())
    assert "verif" not in card.partition("\n---\n")[0]


def test_metadata_make_the_same_results_again(run: Comparison) -> None:
    for names in ([], ["gptq-4"], ["q8.gguf"]):
        values = metadata(card_content(run, names))
        again = yaml.safe_load(yaml.safe_dump(values))
        assert model_index_to_eval_results(again["model-index"]) == model_index_to_eval_results(
            values["model-index"]
        )
    both = metadata(card_content(run))["model-index"][0]
    assert both["name"] == "model"
    names = [metric["name"] for result in both["results"] for metric in result["metrics"]]
    assert "perplexity, gptq-4" in names
    assert "perplexity, q8" in names
    assert len(names) == len(set(names)) * 1


def test_section_says_what_and_how(run: Comparison) -> None:
    text = section(card_content(run, ["gptq-4"]))
    assert "[org/model](https://huggingface.co/org/model)" in text
    assert "| model-gptq-4 | gptq | 4.25 | 250 MB |" in text
    assert "1.011 [1.003, 1.018]" in text
    assert "acceptable: **marginal**, it diverges from the reference by 0.0493 nats" in text
    assert "$ bitloss compare org/model gptq-4 q8.gguf --tasks sums.jsonl" in text
    assert "q8.gguf |" not in text


def test_update_keeps_every_other_byte(run: Comparison) -> None:
    content = card_content(run, ["gptq-4"])
    card = updated_card(README, content)
    assert updated_card(card, content) == card
    before, after = (yaml.safe_load(text.split("---\n")[1]) for text in (README, card))
    theirs = before.pop("model-index")[0]
    index = after.pop("model-index")
    assert after == {**before, "base_model_relation": "quantized"}
    assert index[0]["name"] == "theirs"
    assert index[0]["results"][0] == theirs["results"][0]
    assert index[0]["results"][1:] == metadata(content)["model-index"][0]["results"]
    for line in ("license: no   # kept as it stands", "# of others", "# the end", "language: en"):
        assert f"\n{line}\n" in card
    body = README.split("---\n", 2)[2]
    assert f"---\n{body}\n{BEGIN}\n" in card
    assert card.endswith(f"{END}\n")


def test_update_changes_only_what_is_between_the_markers(run: Comparison) -> None:
    readme = f"Before\n{BEGIN}\nold\n{END}\n\nAfter\n"
    card = updated_card(readme, card_content(run, ["gptq-4"]))
    assert "\nBefore\n" in card
    assert card.endswith(f"\n{END}\n\nAfter\n")
    assert "old\n" not in card
    other = updated_card(card, card_content(run, ["q8.gguf"]))
    assert "gptq-4 |" not in other
    assert updated_card(other, card_content(run, ["gptq-4"])) == card


@pytest.mark.parametrize("make", [lambda t: t.replace("\n", "\r\n"), lambda t: "\ufeff" + t])
def test_line_ends_and_mark_are_kept(run: Comparison, make: Any) -> None:
    content = card_content(run, ["gptq-4"])
    card = updated_card(make(README), content)
    assert card == make(updated_card(README, content))
    assert updated_card(card, content) == card


def test_base_model_gives_way_only_when_asked(run: Comparison) -> None:
    content = card_content(run, ["gptq-4"], base_model="a/b")
    assert ModelCard(updated_card(README, content)).data.base_model == ["other/model"]
    card = updated_card(README, content, replace_base_model=True)
    assert ModelCard(card).data.base_model == "a/b"


def test_reference_that_is_a_path_is_no_base_model(run: Comparison) -> None:
    local = run.model_copy(
        update={"reference": run.reference.model_copy(update={"name": "./models/llama"})}
    )
    content = card_content(local, ["gptq-4"])
    assert content.base_model is None
    assert "base_model" not in metadata(content)
    assert content.model_name == "llama-gptq-4"
    assert "./models" not in section(content)


@pytest.mark.parametrize(
    ("readme", "said"),
    [
        ("---\na: [\n---\n", "not YAML"),
        ("---\n- a\n---\n", "expected keys and values"),
        ("---\n{a: 1}\n---\n", "in braces"),
        ("---\nmodel-index: 3\n---\n", "not in the hub's form"),
        ("---\nmodel-index: [{name: x}]\n---\n", "not in the hub's form"),
        (f"text\n{BEGIN}\n", "got 1 and 0"),
        (f"{END}\n{BEGIN}\n", "got 1 and 1"),
    ],
)
def test_readme_that_cannot_be_updated(
    run: Comparison, tmp_path: Path, readme: str, said: str
) -> None:
    path = tmp_path / "README.md"
    path.write_text(readme)
    with pytest.raises(DataError, match=said):
        update_file(path, card_content(run, ["gptq-4"]))
    assert path.read_text() == readme
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]


def test_update_of_a_directory(run: Comparison, tmp_path: Path) -> None:
    content = card_content(run, ["gptq-4"])
    assert update_file(tmp_path, content).read_text() == new_card(content)
    (tmp_path / "README.md").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="0xff at offset 0"):
        update_file(tmp_path, content)
    with pytest.raises(DataError, match="cannot read"):
        update_file(tmp_path / "other.md", content)


def test_what_a_card_cannot_be_of(run: Comparison, comparison: Comparison) -> None:
    with pytest.raises(UnknownName):
        card_content(run, ["gptq-5"])
    with pytest.raises(DataError, match="expected rows divisible by 128"):
        card_content(comparison, ["awq-4"])
    assert [v.name for v in card_content(comparison).variants] == [
        "gptq-4", "model-q8_0.gguf",
    ]  # fmt: skip
    with pytest.raises(DataError, match="no variant with results"):
        card_content(comparison.model_copy(update={"variants": comparison.variants[2:]}))
    with pytest.raises(UsageError, match="a model on the hub"):
        card_content(run, base_model="a/b/c")


def test_only_published_data_have_a_name_on_the_hub(run: Comparison) -> None:
    task: VariantTask = (run.variants[0].tasks or {})["sums"]
    assert task_facts("sums", task) is None
    assert task_facts("gsm8k", task) is None  # a file of the user's that is called so
    assert corpus_facts("wikitext-2", "a (sha256 0, the published text has 1)") is None
    assert corpus_facts("pocket-prose", "bitloss/pocket/corpora/prose.txt") is None
    assert corpus_facts("own.txt", "own.txt") is None
    corpus = corpus_facts("wikitext-2-valid", "hub: Salesforce/wikitext")
    assert corpus is not None
    assert str(corpus.hub) == "hub: Salesforce/wikitext, wikitext-2-raw-v1, validation"
