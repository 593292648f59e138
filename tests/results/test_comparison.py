"""The result document: its schema, its bytes, and what a damaged one says."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from bitloss.errors import DataError, MissingDependency, StorageError, UnknownName
from bitloss.results import SCHEMA_VERSION, Comparison, ProtocolUsed
from bitloss.results.schema import PATH, schema, schema_text
from example_store import write_run


def changed(comparison: Comparison, **values) -> Comparison:
    """The comparison with other figures in the first variant's only corpus."""
    first, *rest = comparison.variants
    corpora = {name: c.model_copy(update=values) for name, c in first.corpora.items()}
    variants = (first.model_copy(update={"corpora": corpora}), *rest)
    return comparison.model_copy(update={"variants": variants})


def test_document_satisfies_the_schema(comparison: Comparison) -> None:
    # Oracle: the jsonschema package.
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(json.loads(comparison.to_json()), schema())


def test_schema_refuses_other_documents(comparison: Comparison) -> None:
    values = json.loads(comparison.to_json())
    values["variants"][0]["corpora"]["wikitext-2"]["kl_divergence"]["p99"] = "high"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, schema())


def test_shipped_schema_is_the_models(comparison: Comparison) -> None:
    assert PATH.read_text(encoding="utf-8") == schema_text(), (
        "run `python -m bitloss.results.schema`"
    )


def test_names_are_the_contract(comparison: Comparison) -> None:
    values = json.loads(comparison.to_json())
    assert list(values) == ["schema_version", "reference", "variants", "environment"]
    made, found, failed = values["variants"]
    corpus = made["corpora"]["wikitext-2"]
    assert corpus["protocol"] == {
        "name": "strided",
        "parameters": {"max_length": 32, "stride": 16},
    }
    assert (corpus["n_scored"], corpus["n_total"]) == (384, 1600)
    assert set(corpus["relative_perplexity"]) == {"value", "low", "high"}
    assert set(corpus["kl_divergence"]) == {
        "mean", "low", "high", "p50", "p90", "p99", "p999", "max",
    }  # fmt: skip
    assert set(corpus["top1_agreement"]) == {"value", "low", "high"}
    assert {"mean", "rms", "low", "high"} <= set(corpus["delta_p"])
    assert corpus["noise_floor"] == {"kl_divergence": 9.4e-05, "dtype": "bf16", "n_scored": 4096}
    assert "rescored" not in corpus
    assert found["corpora"]["wikitext-2"]["rescored"] == {
        "dtype": "fp32", "n_scored": 192, "n_windows": 12,
    }  # fmt: skip
    assert (made["status"], failed["status"]) == ("ok", "failed")
    assert failed["error"]["hint"] == "use gptq-4"
    assert failed["corpora"] == {}
    assert (made["recipe"]["bits"], found["recipe"]) == (4, None)
    for absent in ("tasks", "capabilities", "cost", "verdict", "loss_ranking"):
        assert absent not in made


def test_round_trip_keeps_everything(comparison: Comparison, tmp_path: Path) -> None:
    path = tmp_path / "comparison.json"
    comparison.write(path)
    assert [file.name for file in tmp_path.iterdir()] == ["comparison.json"]
    assert Comparison.load(path) == comparison == Comparison.load(tmp_path)
    assert Comparison.from_json(comparison.to_json()).to_json() == comparison.to_json()


def test_only_marked_fields_are_left_out(comparison: Comparison) -> None:
    """What is null and marked is left out; what is null and not marked is written."""
    values = json.loads(comparison.to_json())
    made, found, failed = values["variants"]
    corpus = made["corpora"]["wikitext-2"]
    for absent in ("word_perplexity", "byte_perplexity", "standard_error", "stopped", "rescored"):
        assert absent not in corpus
    assert not {"until", "precision"} & set(values["environment"])
    assert not {"answer", "missing"} & set(values)
    assert "cost" not in made
    assert (found["recipe"], failed["digest"], made["desc_act"]) == (None, None, None)
    assert values["environment"]["threads"] is None


def test_earlier_schema_names_what_to_do(comparison: Comparison, tmp_path: Path) -> None:
    values = json.loads(comparison.to_json()) | {"schema_version": 1}
    (tmp_path / "comparison.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match="got version 1 of an earlier bitloss") as caught:
        Comparison.load(tmp_path)
    assert caught.value.hint == (
        "score again in a new directory: bitloss compare org/model gptq-4 ./model-q8_0.gguf awq-4 "
        f"--out {tmp_path}-new"
    )
    (tmp_path / "manifest.json").write_text('{"manifest_version": 6}')
    with pytest.raises(DataError) as caught:
        Comparison.load(tmp_path)
    assert caught.value.hint == (
        f"write it again from the run's records: bitloss report {tmp_path} --format json "
        f"--out {tmp_path / 'comparison.json'}"
    )


def test_infinite_numbers_become_null_with_a_note(comparison: Comparison) -> None:
    broken = changed(comparison, perplexity=math.inf, bits_per_byte=math.nan)
    corpus = json.loads(broken.to_json())["variants"][0]["corpora"]["wikitext-2"]
    assert corpus["perplexity"] is None
    assert corpus["bits_per_byte"] is None
    assert corpus["notes"][-2:] == ["perplexity is infinite", "bits_per_byte is not a number"]
    again = Comparison.from_json(broken.to_json())
    assert again.variants[0].corpora["wikitext-2"].perplexity is None


def test_protocols_do_not_mix(comparison: Comparison) -> None:
    other = changed(comparison, protocol=ProtocolUsed(name="gptq", parameters={}))
    with pytest.raises(DataError, match="under one protocol on `wikitext-2`"):
        Comparison.from_json(other.to_json())


def test_error_goes_with_failure(comparison: Comparison) -> None:
    values = json.loads(comparison.to_json())
    del values["variants"][2]["error"]
    with pytest.raises(DataError, match="awq-4"):
        Comparison.from_json(json.dumps(values))


def test_results_cannot_be_changed(comparison: Comparison) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        comparison.reference.name = "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged, not JSON"),
        ('{"schema_version": NaN}', "damaged, not JSON"),
        ("[]", "got no `schema_version`"),
        ('{"name": 1}', "got no `schema_version`"),
        ('{"schema_version": true}', "got no `schema_version`"),
        (json.dumps({"schema_version": SCHEMA_VERSION + 1}), "newer bitloss"),
        (json.dumps({"schema_version": SCHEMA_VERSION}), "as bitloss writes it: `reference`"),
        (json.dumps({"schema_version": 1}), "version 3, got version 1 of an earlier bitloss"),
    ],
)
def test_bad_documents(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        Comparison.from_json(text, name="run/comparison.json")
    assert caught.value.hint
    assert "run/comparison.json" in caught.value.message


def test_truncated_file(comparison: Comparison, tmp_path: Path) -> None:
    path = tmp_path / "comparison.json"
    path.write_text(comparison.to_json()[:-200])
    with pytest.raises(DataError, match="damaged"):
        Comparison.load(path)


def test_missing_file_and_directory(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        Comparison.load(tmp_path)
    (tmp_path / "records").mkdir()
    with pytest.raises(DataError, match=r"not a finished run \(no comparison\.json\)") as caught:
        Comparison.load(tmp_path)
    assert caught.value.hint.startswith("rerun the same `bitloss compare`")
    with pytest.raises(StorageError, match="cannot write"):
        comparison.write(tmp_path / "absent" / "comparison.json")


def test_failed_write_leaves_the_old_result(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "comparison.json"
    comparison.write(path)
    before = path.read_bytes()

    def refuse(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(StorageError, match="the disk is full"):
        comparison.model_copy(update={"variants": ()}).write(path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_data_frame(comparison: Comparison) -> None:
    pytest.importorskip("pandas")
    frame = comparison.to_dataframe()
    assert list(frame["name"]) == ["org/model", "gptq-4", "./model-q8_0.gguf", "awq-4"]
    corpus = comparison.variants[0].corpora["wikitext-2"]
    row = frame.iloc[1]
    assert row["kl_divergence_mean"] == corpus.kl_divergence.mean
    assert row["relative_perplexity"] == corpus.relative_perplexity.value
    assert row["relative_perplexity_high"] == corpus.relative_perplexity.high
    assert (row["corpus"], row["protocol"], row["role"]) == ("wikitext-2", "strided", "variant")
    assert frame.iloc[3]["error"] == "expected rows divisible by 128, got 172"


def test_data_frames_of_tasks_and_capabilities(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    write_run(tmp_path, right="101111")
    found = Comparison.load(tmp_path)
    variant = found["gptq-4"]
    tasks = found.to_dataframe("tasks")
    assert set(tasks["role"]) == {"reference", "variant"}
    row = tasks[(tasks["name"] == "gptq-4") & (tasks["task"] == "sums")].iloc[0]
    task = (variant.tasks or {})["sums"]
    assert (row["score"], row["score_low"]) == (task.score.value, task.score.low)
    assert row["difference"] == task.difference.value
    assert row["flips_right_to_wrong"] == (task.flips and task.flips.right_to_wrong)
    capabilities = found.to_dataframe("capabilities")
    row = capabilities[capabilities["name"] == "gptq-4"].set_index("capability").loc["math"]
    assert variant.verdict is not None
    verdict = variant.verdict.capabilities["math"]
    assert (row["outcome"], row["margin"]) == (verdict.outcome, verdict.margin)
    assert row["loss_high"] == verdict.loss.high
    reference = capabilities[capabilities["role"] == "reference"].set_index("capability")
    assert found.reference.abilities is not None
    assert reference.loc["math"]["chance"] == found.reference.abilities["math"].chance
    with pytest.raises(UnknownName, match="rows"):
        found.to_dataframe("items")  # type: ignore[arg-type]


def test_variants_by_name(comparison: Comparison) -> None:
    assert comparison["gptq-4"] is comparison.variants[0]
    assert comparison["./model-q8_0.gguf"] is comparison["model-q8_0.gguf"]
    with pytest.raises(UnknownName, match="variant") as caught:
        comparison["gptq-5"]
    assert "gptq-4" in caught.value.hint


def test_data_frame_without_pandas(comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependency, match="pandas"):
        comparison.to_dataframe()


def test_import_is_light() -> None:
    heavy = "{'torch', 'transformers', 'pandas', 'scipy', 'pyarrow', 'rich'}"
    code = f"import sys, bitloss.results; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
