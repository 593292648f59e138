"""The Python interface: the same runs as on the command line, as functions."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from bitloss import registry
from bitloss.errors import NumericalError, UnknownName, UsageError
from bitloss.files import scratch_folder
from bitloss.names import describe_names, describe_suites
from bitloss.spec.calibration import Calibration
from bitloss.spec.chat import parse_template_args
from bitloss.spec.choices import CompareOptions, PerplexityOptions, QuantizeOptions, StrPath
from bitloss.spec.fingerprint import fingerprint
from bitloss.spec.model import names_pack
from bitloss.spec.recipe import parse_recipe, require_calibrating
from bitloss.spec.requirements import require_chat, require_decidable
from bitloss.spec.run import options_of
from bitloss.spec.serving import parse_serving
from bitloss.spec.valid import parse_run, require_known
from bitloss.types import Progress, SilentProgress

if TYPE_CHECKING:
    from bitloss.results import Comparison
    from bitloss.results.plan import PlanSummary
    from bitloss.spec.run import RunSpec

__all__ = [
    "compare",
    "default_run_dir",
    "describe_names",
    "describe_suites",
    "evaluate_perplexity",
    "make_spec",
    "plan",
    "quantize",
    "run",
]


def evaluate_perplexity(
    model_name: StrPath,
    quant_path: StrPath | None = None,
    *,
    corpus: StrPath = "wikitext-2",
    progress: Progress | None = None,
    **options: Unpack[PerplexityOptions],
) -> float:
    """Compute a model's perplexity on a text: exp of a mean negative log-likelihood, at best 1.0.

    Args:
        model_name: a path or a hub name.
        quant_path: a quantized copy to score instead, with the tokenizer of `model_name`.
        corpus: a registered name or the path of a text.
        progress: where to report; None is silent.
        options: see `bitloss.spec.choices.PerplexityOptions` and ``docs/options.md``.

    Raises:
        BitlossError: the model or the corpus cannot be used, or an option is wrong; it has a hint.
    """
    require_known(options, PerplexityOptions.__annotations__)
    spec = make_spec(
        model_name if quant_path is None else quant_path,
        tokenizer=None if quant_path is None else model_name,
        corpora=[corpus],
        **options,
    )
    with scratch_folder() as folder:
        result = run(spec, folder, progress=progress)
    (scored,) = result.reference.corpora.values()
    if scored.perplexity is None:
        raise NumericalError(
            f"the perplexity of `{spec.reference}` is not finite",
            hint="check the model's files, or score it with dtype fp32",
        )
    return scored.perplexity


def compare(
    reference: StrPath,
    variants: StrPath | Sequence[StrPath],
    *,
    out: StrPath | None = None,
    expectations: StrPath | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **options: Unpack[CompareOptions],
) -> Comparison:
    """Score a reference and its variants on the same tokens and items, and analyze the differences.

    Args:
        reference: the unquantized model: a path or a hub name.
        variants: one or several paths, hub names or recipes (``"gptq-4"``).
        out: the run directory, where a stopped run resumes; None is `default_run_dir`, below the
            working directory.
        expectations: a YAML file with levels, margins and expected losses for the verdicts, laid
            over the built-in ones.
        force: replace a result in `out` that has more than this run, or that another run made.
        progress: where to report; None is silent.
        options: see `bitloss.spec.choices.CompareOptions` and ``docs/options.md``. Corpora and
            tasks replace the suite's; a task that the suite has too keeps its limit and shots.

    Raises:
        BitlossError: the reference, a corpus or a task cannot be used. A variant that fails is an
            entry with its error in the result.
    """
    names = [variants] if isinstance(variants, str | os.PathLike) else variants
    spec = make_spec(reference, names, **options)
    folder = default_run_dir(spec) if out is None else Path(out)
    return run(spec, folder, expectations=expectations, force=force, progress=progress)


def make_spec(
    reference: StrPath,
    variants: Sequence[StrPath] = (),
    *,
    tokenizer: StrPath | None = None,
    **options: Unpack[CompareOptions],
) -> RunSpec:
    """The run of these models and options, validated; see `compare`.

    Args:
        reference: see `compare`.
        variants: see `compare`; may be empty.
        tokenizer: a model whose tokenizer and config are used; None is the reference.
        options: see `bitloss.spec.choices.CompareOptions`.

    Raises:
        UnknownName: no such engine, protocol, suite or task.
        UsageError: unknown options or impossible values, all of them named at once.
    """
    from bitloss.suites.choose import choose

    values: dict[str, Any] = dict(options)
    if isinstance(engine := values.get("engine"), str):
        values["engine"] = [name.strip() for name in engine.split(",")]
    for option in options_of():
        if not (table := option.option.names):
            continue
        named = values.get(option.keyword)
        for name in [named] if isinstance(named, str) else named or ():
            if name.partition("=")[0] not in getattr(registry, table):
                raise UnknownName(option.keyword, name, getattr(registry, table))
    suite, corpora, tasks = (values.pop(key, None) for key in ("suite", "corpora", "tasks"))
    if isinstance(text := values.get("calibration"), str | os.PathLike):
        values["calibration"] = Calibration(os.fspath(text))
    if (arguments := values.get("template_args")) is not None:
        values["template_args"] = parse_template_args(arguments)
    parts: dict[str, Any] = {
        "suite": None if suite is None else os.fspath(suite),
        "corpora": None if corpora is None else [os.fspath(name) for name in corpora],
        "tasks": None if tasks is None else [os.fspath(name) for name in tasks],
    }
    if names_pack(os.fspath(reference)):
        if not variants:
            raise UsageError(
                f"expected a model with weights, got the pack {reference}, which has none",
                hint="give the pack as the reference of `bitloss compare`",
            )
        from bitloss.formats.location.locate import pack_folder
        from bitloss.runner.packs.choices import within_pack

        root = pack_folder(os.fspath(reference), progress=SilentProgress(), whole=False)
        values = within_pack(root, values, **parts)
    else:
        values |= choose(parts["suite"], corpora=parts["corpora"], tasks=parts["tasks"])
    spec = parse_run(
        {
            "reference": os.fspath(reference),
            "variants": tuple(os.fspath(variant) for variant in variants),
            "tokenizer": None if tokenizer is None else os.fspath(tokenizer),
            **values,
        }
    )
    require_decidable(spec)
    require_chat(spec)
    parse_serving(spec.cache_type, spec.activations)
    return spec


def default_run_dir(spec: RunSpec) -> Path:
    """``runs/<reference>-<fingerprint of the spec>``: the same choices, the same directory."""
    name = Path(spec.reference.partition("@")[0]).name.removesuffix(".gguf")
    safe = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"
    # Replicates are added to a run: a run with more of them resumes one with fewer.
    return Path("runs") / f"{safe}-{fingerprint(replace(spec, replicates=1).to_json())[:8]}"


def plan(
    spec: RunSpec,
    out: Path,
    *,
    expectations: StrPath | None = None,
    recipes_must_fit: bool = True,
    force: bool = False,
    progress: Progress | None = None,
) -> PlanSummary:
    """What the run will cost in memory, disk and time; nothing is scored, no variant made.

    Args:
        spec: from `make_spec`.
        out: the run directory.
        expectations: a file that verdicts are made with (`bitloss.expectations`).
        recipes_must_fit: see `run`.
        force: see there.
        progress: where to report; None is silent.

    Raises:
        BitlossError: the reference or a corpus cannot be used, or another version of bitloss laid
            out the directory.
    """
    from bitloss.expectations import load_expectations

    table = load_expectations(None if expectations is None else Path(expectations))
    _require_writable(out)
    _require_names(spec)
    from bitloss import runner

    ready = runner.prepare(
        spec,
        expectations=table,
        recipes_must_fit=recipes_must_fit,
        progress=progress or SilentProgress(),
    )
    if not force:
        runner.refuse_to_replace(ready, out)
    return runner.summarize(ready, out)


def _require_names(spec: RunSpec) -> None:
    """Report a misspelled name at once, before the libraries that models need are loaded.

    Raises:
        BitlossError: the name of a model or a task is unknown, or a task file has errors.
    """
    from bitloss.spec.model import parse_model, parse_variant
    from bitloss.tasks.find import check_task

    if not names_pack(spec.reference):
        parse_model(spec.reference)
    if spec.tokenizer is not None:
        parse_model(spec.tokenizer)
    for text in spec.variants:
        parse_variant(text, engines=spec.engine, calibration=spec.calibration, seed=spec.seed)
    if names_pack(spec.reference):
        from bitloss.runner.packs.choices import refuse_recipes

        refuse_recipes(spec)
        return  # the pack has the tasks
    for choice in spec.tasks:
        check_task(choice, include_path=spec.include_path, data=spec.data)


def _require_writable(out: Path) -> None:
    """Refuse a run directory whose results this version would lose by writing into it."""
    from bitloss.results.comparison import COMPARISON
    from bitloss.results.document import refuse_newer_schema
    from bitloss.results.manifest import refuse_other_layout
    from bitloss.runner.packs.opened import refuse_inside

    refuse_inside(out, "a run directory")
    refuse_newer_schema(out / "comparison.json", COMPARISON)
    refuse_other_layout(out)


def run(
    spec: RunSpec,
    out: Path,
    *,
    expectations: StrPath | None = None,
    command: Sequence[str] = (),
    recipes_must_fit: bool = True,
    force: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Score what is not scored yet in the run directory, analyse all of it, write the result.

    The result of a finished run is read, if nothing that it depends on has changed since
    (`bitloss.runner.unchanged`).

    Args:
        spec: from `make_spec`.
        out: the run directory; ``comparison.json`` in it is the result.
        expectations: a file that verdicts are made with (`bitloss.expectations`).
        command: the words of the command line, recorded.
        recipes_must_fit: whether a recipe that does not fit the reference ends the run before it
            begins; else it is a variant that fails.
        force: replace a result in `out` that has more than this run, or that is of another one.
        progress: where to report; None is silent.

    Raises:
        BitlossError: the reference or a corpus cannot be used, or the directory not be written.
    """
    from bitloss.expectations import load_expectations

    progress = progress or SilentProgress()
    table = load_expectations(None if expectations is None else Path(expectations))
    _require_writable(out)
    _require_names(spec)
    from bitloss import runner
    from bitloss.analysis.collect import collect
    from bitloss.analysis.settle import Settling
    from bitloss.results import Comparison
    from bitloss.runner import unchanged

    store, words = runner.RunStore(out), shlex.join(command)
    # Not the command: the same run may be asked for in other words, as with --quiet or --json.
    asked = [recipes_must_fit, table.model_dump(mode="json")]
    before = unchanged.read_inputs(spec, asked)
    if unchanged.is_unchanged(store, before):
        finished = Comparison.load(out)
        if unchanged.is_unchanged(store, before):  # nobody has replaced it meanwhile
            return finished
    ready = runner.prepare(
        spec, expectations=table, recipes_must_fit=recipes_must_fit, progress=progress
    )
    if not force:
        runner.refuse_to_replace(ready, out)
    with store.locked():
        if not force:  # another process may have finished a run there since
            runner.refuse_to_replace(ready, out)
        unchanged.forget(store)
        manifest = runner.execute(
            ready, store, command=words, progress=progress, settle=Settling(table)
        )
        result = collect(store, manifest, table)
        result.write(out / "comparison.json")
        unchanged.remember(store, manifest, before, unchanged.read_inputs(spec, asked))
    return result


def quantize(
    model: StrPath,
    out: StrPath,
    *,
    recipe: str,
    progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
    **options: Unpack[QuantizeOptions],
) -> Path:
    """Make a quantized copy of a model.

    Args:
        model: a path or a hub name.
        out: a new directory, or for GGUF a new file.
        recipe: see `bitloss.spec.recipe`.
        progress: where to report; None is silent.
        on_note: called with what a reader of the copy's results should know; None drops it.
        options: see `bitloss.spec.choices.QuantizeOptions` and ``docs/options.md``.

    Returns:
        The new directory or file.

    Raises:
        UsageError: no such recipe or device, or an `out` that does not suit the recipe.
        StorageError: `out` holds something, or cannot be written.
        BitlossError: the model cannot be used, or the recipe not be carried out.
    """
    from bitloss.spec.model import parse_model

    require_known(options, QuantizeOptions.__annotations__)
    chosen = make_spec(model, **options)  # quantizing validates its options as a run does
    parsed = parse_recipe(recipe, calibration=chosen.calibration, seed=chosen.seed)
    require_calibrating(chosen.calibration, [parsed])
    if len(chosen.devices) > 1:
        raise UsageError(
            f"expected one device to quantize on, got `{chosen.device}`",
            hint=f"use --device {chosen.main_device}",
        )
    progress = progress or SilentProgress()
    ref = parse_model(chosen.reference)
    # After the names, so that a mistyped one is reported before torch is loaded.
    from bitloss.formats.location.locate import locate
    from bitloss.quantizers import quantize_to
    from bitloss.quantizers.dense_copy import reference_digest

    path = locate(ref, progress=progress, trust_remote_code=chosen.trust_remote_code)
    return quantize_to(
        parsed,
        path,
        Path(out),
        model_digest=reference_digest(path, ref.text),
        data=chosen.data,
        device=chosen.main_device,
        progress=progress,
        on_note=on_note or (lambda note: None),
    )
