"""`bitloss study` from the command line: a dummy study, the bundled model, cheap recipes.

The dummy is what a contributor writes: a frozen value, and one line in the registry.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pytest

import bitloss
from bitloss import api, registry
from bitloss.cli.main import main
from bitloss.errors import QuantizationError, UsageError
from bitloss.results import Comparison
from bitloss.studies import FactorLevel, Study, StudyResult
from bitloss.studies.sweep import recipe_sweep
from peers.tiny_model import write_tiny_model

Captured = pytest.CaptureFixture[str]
QUICK = "--corpus pocket-prose --limit 6 --quiet"
ANSWERED = "--corpus pocket-prose --limit 8 --quiet"  # enough to show an ability

DUMMY = recipe_sweep(
    name="dummy",
    factor="GGUF type",
    values=("q8_0", "q4_0"),
    columns=(
        "bits_per_weight", "file_size", "relative_perplexity", "expected", "kl_divergence", "loss",
    ),
    recipe=lambda value: f"gguf-{value}",
)  # fmt: skip


def window_length(text: str) -> FactorLevel:
    return FactorLevel(text, "gguf-q4_0", changes={"max_length": int(text), "stride": int(text)})


WINDOWS = Study(  # a study whose factor is an option of the run
    name="dummy",
    factor="window length",
    question="Does the window's length matter?",
    values=("128", "256"),
    parse=window_length,
    columns=("relative_perplexity",),
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What tests of the same levels share, as studies do: made variants, and one `--out`."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(autouse=True)
def place(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if find_spec("llama_cpp") is None:
        pytest.skip("llama_cpp is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITLOSS_CACHE", str(work / "cache"))
    register(monkeypatch, DUMMY)
    return tmp_path


def register(monkeypatch: pytest.MonkeyPatch, study: object) -> None:
    """One file, and one line in the registry."""
    module = ModuleType("dummy_study")
    module.STUDY = study  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dummy_study", module)
    line = {"dummy": "dummy_study:STUDY"}
    monkeypatch.setattr(registry, "STUDIES", MappingProxyType({**registry.STUDIES, **line}))


def test_a_study_is_a_value_and_a_line(work: Path, capsys: Captured) -> None:
    words = f"study dummy pocket --tasks pocket_knowledge_zh {ANSWERED} --out {work}"
    assert main(words.split()) == 0
    out, err = capsys.readouterr()
    assert "q8_0 -> q4_0" in out
    assert "loss (points)" in out
    assert err.endswith(f"written to {work}/dummy/study.json\n")
    result = StudyResult.load(work / "dummy" / "study.json")
    (model,) = result.models
    assert (result.study, result.factor, model.name, model.run) == (
        "dummy", "GGUF type", "pocket", "runs/pocket",
    )  # fmt: skip
    assert [level.level for level in model.levels] == ["q8_0", "q4_0"]
    assert [(step.before, step.after) for step in model.steps] == [("q8_0", "q4_0")]
    assert str(result).partition("\n")[0] in " ".join(out.split())


def test_figures_are_those_of_the_run(work: Path, capsys: Captured) -> None:
    """Oracle: the run's own result; a ratio of perplexities is the ratio of relative ones."""
    words = f"study dummy pocket --tasks pocket_knowledge_zh {ANSWERED} --json --out {work}"
    assert main(words.split()) == 0
    out = capsys.readouterr().out
    assert out == (work / "dummy" / "study.json").read_text()
    (model,) = StudyResult.model_validate_json(out).models
    run = Comparison.load(work / model.run)
    # A finished run is left as it is, with the command that made it: the test before, if it ran.
    assert run.environment.command.replace(" --json", "") == "bitloss " + words.replace(
        " --json", ""
    )
    for level, variant in zip(model.levels, run.variants, strict=True):
        assert level.recipe == variant.name
        assert level.bits_per_weight == variant.bits_per_weight
        assert level.file_bytes == variant.file_bytes
        scored = variant.corpora["pocket-prose"]
        shown = level.corpora["pocket-prose"]
        assert shown["relative_perplexity"] == scored.relative_perplexity
        assert shown["kl_divergence"].value == scored.kl_divergence.mean
        assert variant.capabilities is not None
        loss = variant.capabilities["knowledge (Chinese)"].difference.negated()
        assert level.capabilities == {"knowledge (Chinese)": {"loss": loss}}
    ratios = [level.corpora["pocket-prose"]["relative_perplexity"].value for level in model.levels]
    step = model.steps[0].corpora["pocket-prose"]["relative_perplexity"].value
    assert step == pytest.approx((ratios[1] or 0) / (ratios[0] or 1), rel=1e-5)


def test_studies_share_their_work(work: Path, capsys: Captured) -> None:
    """Oracle: made variants, states and records are the same files as before, none was added."""
    assert main(f"study dummy pocket {QUICK} --out {work}".split()) == 0
    first = (work / "dummy" / "study.json").read_bytes()
    before = files_of(work / "cache", work / "runs/pocket/states", work / "runs/pocket/records")
    assert {path.suffix for path in before} >= {".gguf", ".safetensors", ".parquet"}
    other = f"study bits pocket --vary gguf-q4_0 --vary gguf-q8_0 {QUICK} --out {work}"
    assert main(other.split()) == 0
    assert main(f"study dummy pocket {QUICK} --out {work}".split()) == 0
    assert (work / "dummy" / "study.json").read_bytes() == first
    assert files_of(*(work / name for name in ("cache", "runs/pocket"))).items() >= before.items()
    records = work / "runs/pocket/records"
    assert files_of(records).keys() == {path for path in before if path.parent == records}
    capsys.readouterr()


def files_of(*folders: Path) -> dict[Path, int]:
    """When each file was written, in nanoseconds."""
    return {
        path: path.stat().st_mtime_ns
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_a_level_that_fails_does_not_stop_the_others(place: Path, capsys: Captured) -> None:
    """IQ2_XXS cannot be made without an importance matrix."""
    write_tiny_model(place / "tiny")
    (place / "fox.txt").write_text("The quick brown fox jumps over the lazy dog. " * 30)
    words = "study bits ./tiny --vary gguf-q8_0,gguf-iq2_xxs,gguf-q4_0 --corpus ./fox.txt -q"
    assert main(words.split()) == 1
    out, err = capsys.readouterr()
    assert "gguf-q8_0 -> gguf-q4_0" in out
    assert "./tiny, gguf-iq2_xxs: failed" in out
    assert "error: ./tiny, gguf-iq2_xxs: " in err
    (model,) = StudyResult.load(place / "studies" / "bits" / "study.json").models
    assert [level.error is None for level in model.levels] == [True, False, True]
    assert model.levels[1].corpora == {}


def test_expected_bands_stand_beside_the_measured(work: Path) -> None:
    result = bitloss.study(
        "dummy",
        ["pocket"],
        corpora=["pocket-prose"],
        tasks=["pocket_knowledge_zh"],
        limit=3,
        out=work,
    )
    (model,) = result.models
    expected, none = (level.expected for level in model.levels)
    assert expected is not None
    assert (expected.low, expected.high) == (1.03, 1.06)  # expectations.yaml
    assert model.levels[0].standing is None  # three windows have no interval
    assert none is None  # there is no row for Q4_0


def test_two_models(place: Path, capsys: Captured) -> None:
    for name in ("one", "two"):
        write_tiny_model(place / name, noise=0.01 * (name == "two"))
    (place / "fox.txt").write_text("The quick brown fox jumps over the lazy dog. " * 30)
    words = "study dummy ./one ./two --vary q8_0 --corpus ./fox.txt --out kept --quiet"
    assert main(words.split()) == 0
    assert "./two, dummy on fox.txt" in " ".join(capsys.readouterr().out.split())
    result = StudyResult.load(place / "kept" / "dummy" / "study.json")
    assert [(model.name, model.run) for model in result.models] == [
        ("./one", "runs/one"), ("./two", "runs/two"),
    ]  # fmt: skip


def test_a_level_that_fits_no_model_is_marked_in_each(place: Path, capsys: Captured) -> None:
    """All models are checked before the first is scored, and what does not fit stops none."""
    for name in ("one", "two"):
        write_tiny_model(place / name)
    (place / "fox.txt").write_text("The quick brown fox jumps over the lazy dog. " * 30)
    words = "study dummy ./one ./two --vary q8_0,iq2_xxs --corpus ./fox.txt --quiet"
    assert main(words.split()) == 1
    out = capsys.readouterr().out
    assert "./one, iq2_xxs: failed" in out
    assert "./two, iq2_xxs: failed" in out
    models = StudyResult.load(place / "studies" / "dummy" / "study.json").models
    assert [[level.error is None for level in one.levels] for one in models] == [[True, False]] * 2


def test_a_factor_that_is_an_option_of_the_run(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, WINDOWS)
    result = bitloss.study("dummy", ["pocket"], corpora=["pocket-prose"], limit=3)
    (model,) = result.models
    short, long = (level.corpora["pocket-prose"]["relative_perplexity"] for level in model.levels)
    assert short.value != long.value
    assert [level.changes["max_length"] for level in model.levels] == [128, 256]
    assert [step.corpora for step in model.steps] == [{}]  # other windows: nothing is paired
    assert model.corpora["pocket-prose"].notes[-1] == (
        "the reference as at level 128; at other levels it is evaluated differently"
    )


@pytest.mark.parametrize(
    ("words", "code", "error", "hint"),
    [
        ("study bist pocket", 2, "unknown study `bist`", "did you mean `bits`"),
        ("study sensitivty pocket", 2, "unknown study `sensitivty`", "did you mean `sensitivity`"),
        ("study group-size pocket --vary 64,big", 2,
         "unknown level of the study `group-size` `big`", "known: 128, 32, 64, row"),
        ("study bits pocket --vary gptq-5", 2, "recipe `gptq-5`", "use"),
        ("study bits pocket --vary gptq-4,gptq-4", 2, "level `gptq-4` is given twice", "give each"),
        ("study bits pocket --vary ,", 2, "expected levels of", "add levels: --vary"),
        ("study dummy ./nothing", 2, "no model at `./nothing`", "check the path"),
        ("study dummy pocket ./nothing", 2, "no model at `./nothing`", "check the path"),
        ("study dummy a/x b/x", 2, "expected models with different names", "rename one"),
        ("study dummy pocket pocket", 2, "expected models with different names", "rename one"),
        ("study dummy gptq-4", 2, "`gptq-4` is a recipe", "give a directory"),
        ("study dummy", 2, "missing argument 'models", "bitloss study --help"),
    ],
)  # fmt: skip
def test_mistakes(
    place: Path, capsys: Captured, words: str, code: int, error: str, hint: str
) -> None:
    assert main([*words.split(), "--corpus", "pocket-prose", "--quiet"]) == code
    out, err = capsys.readouterr()
    first, second = err.splitlines()
    assert out == ""
    assert first.startswith(f"error: {error}")
    assert second.removeprefix("hint: ").startswith(hint)
    assert not (place / "studies" / "dummy").exists()


def test_a_missing_second_model_is_found_before_any_work(place: Path, capsys: Captured) -> None:
    assert main(f"study dummy pocket ./nothing {QUICK}".split()) == 2
    assert "error: no model at `./nothing`" in capsys.readouterr().err
    assert files_of(place) == {}


def test_levels_are_scored_on_the_same_windows() -> None:
    with pytest.raises(UsageError, match="same windows"):
        bitloss.study("dummy", ["pocket"], until="decided")


def test_a_newer_study_is_kept(place: Path, capsys: Captured) -> None:
    kept = place / "studies" / "dummy" / "study.json"
    kept.parent.mkdir(parents=True)
    kept.write_text('{"study_version": 99}')
    assert main(f"study dummy pocket {QUICK}".split()) == 1
    assert "of a newer bitloss" in capsys.readouterr().err
    assert kept.read_text() == '{"study_version": 99}'


def test_every_option_reaches_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, Path]] = []

    def record(spec: Any, out: Path, **_: Any) -> None:
        asked.append((spec, out))
        raise QuantizationError("far enough")

    monkeypatch.setattr(api, "run", record)
    words = (
        "study dummy ./ref --vary q8_0 --vary q4_0,q5_0 --suite code --tasks lambada,humaneval "
        "--corpus web --data /data --out there --limit 5 --device cuda:1 -q"
    )
    assert main(words.split()) == 1
    ((spec, out),) = asked
    assert out == Path("there/runs/ref")
    assert spec == api.make_spec(
        "./ref", ["gguf-q8_0", "gguf-q4_0", "gguf-q5_0"], suite="code", corpora=["web"],
        tasks=["lambada", "humaneval"], data="/data", limit=5, device="cuda:1",
    )  # fmt: skip


def test_a_page_stands_beside_the_answer(work: Path, capsys: Captured) -> None:
    assert main(f"study dummy pocket {QUICK} --out {work}".split()) == 0
    assert f"page: {work}/dummy/page.html" in capsys.readouterr().err
    assert "GGUF type" in (work / "dummy" / "page.html").read_text()


def test_a_study_file_is_a_study(work: Path, place: Path, capsys: Captured) -> None:
    (place / "mine.yaml").write_text(
        "name: mine\nfactor: kind\nlevels: [gguf-q8_0, gguf-q4_0]\n"
        "columns: [kl_divergence]\noptions: {corpora: [pocket-prose], limit: 6}\n"
    )
    assert main(f"study mine.yaml pocket --quiet --no-page --out {work}".split()) == 0
    capsys.readouterr()
    result = StudyResult.load(work / "mine" / "study.json")
    assert [level.level for level in result.models[0].levels] == ["gguf-q8_0", "gguf-q4_0"]
    assert result.models[0].corpora["pocket-prose"].n_windows == 6
    assert not (work / "mine" / "page.html").exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("study act-order pocket --vary awq-4-act", "unknown level of the study `act-order`"),
        ("study calibration pocket --vary gguf-q2_k@prose", "names a calibration text but uses"),
        ("study calibration pocket --vary gptq-2@poems", "unknown level of the study `calibra"),
        ("study context pocket --max-length 16", "expected a context of 128 tokens or more"),
        ("study none.yaml pocket", "no study file at `none.yaml`"),
    ],
)
def test_a_factor_that_the_format_lacks(capsys: Captured, words: str, error: str) -> None:
    assert main([*words.split(), "--quiet"]) == 2
    assert error in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "models", "options", "error", "hint"),
    [
        (
            "recipe",
            ["a", "b"],
            {"like": "gguf-q4_k_m"},
            "expected one model",
            "each model by itself",
        ),
        ("recipe", "pocket", {}, "expected a size", "--like"),
        ("recipe", "pocket", {"vary": ["gguf-q2_k"]}, "got `vary`", "bitloss.studies.recipe"),
        ("sensitivity", "pocket", {}, "expected variants", "variants="),
        (
            "sensitivity",
            "pocket",
            {"variants": []},
            "expected at least one variant",
            "name a recipe",
        ),
    ],
)
def test_what_studies_of_their_own_refuse(
    name: str, models: object, options: dict[str, object], error: str, hint: str
) -> None:
    run: Any = bitloss.study
    with pytest.raises(UsageError, match=error) as refused:
        run(name, models, **options)
    assert hint in refused.value.hint
