"""A run: every choice that a user can make, each declared once (`spec.valid` checks them)."""

# Without `annotations` from __future__: `bitloss.spec.options` reads the declarations as values.

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bitloss.environment import DATA
from bitloss.spec.calibration import DEFAULT_CALIBRATION, Calibration
from bitloss.spec.chat import MARKERS
from bitloss.spec.options import (
    COMPARE,
    EVERY_RUN,
    PACK,
    PERPLEXITY,
    QUANTIZE,
    Declared,
    Option,
    declared,
)
from bitloss.spec.sizes import parse_size

if TYPE_CHECKING:
    from bitloss.spec.suite import TaskChoice

__all__ = [
    "DtypePolicy",
    "RunSpec",
    "Until",
    "options_of",
]

DtypePolicy = Literal["auto", "fp32", "mixed", "bf16"]
Until = Literal["decided", "all"]

_ALL = (*EVERY_RUN, QUANTIZE)
_MEASURED = (COMPARE, PACK)
_PROTOCOLS = "the protocol's"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What a run measures, and how. Fields with an `Option` are explained by it.

    `bitloss.spec.valid.parse_run` makes valid ones; the constructor itself checks nothing.

    Attributes:
        reference: a model, as written (see `bitloss.spec.model`).
        tokenizer: a model whose tokenizer and config are used; None is the reference.
        variants: models or recipes, as written; may be empty (perplexity of one model).
        corpus_limits: windows of a corpus, by its name in `corpora`, where there is no `limit`.
        calibration: for recipes that do not name a corpus.
    """

    reference: str
    tokenizer: str | None = None
    variants: tuple[str, ...] = ()
    corpus_limits: dict[str, int] = field(default_factory=dict)
    suite: Annotated[
        str | None,
        Option(
            "Suite of corpora and tasks (`bitloss list`), or a suite file.",
            _MEASURED,
            keyword="StrPath | None",
        ),
    ] = None
    corpora: Annotated[
        tuple[str, ...],
        Option(
            "Corpora (`bitloss list`), text files, tables (FILE::COLUMN) or folders, separated by "
            "commas.",
            flag="--corpus",
            keyword="Sequence[StrPath] | None",
            default="the suite's, or wikitext-2 without a suite and tasks",
            many=True,
            commas=True,
        ),
    ] = ("wikitext-2",)
    tasks: Annotated[
        "tuple[TaskChoice, ...]",
        Option(
            "Tasks (`bitloss list`) or task files, separated by commas.",
            _MEASURED,
            keyword="Sequence[StrPath] | None",
            default="the suite's",
            many=True,
            commas=True,
        ),
    ] = ()
    include_path: Annotated[
        tuple[Path, ...],
        Option(
            "Folders with further task files of lm-evaluation-harness (`lm-eval:NAME`), separated "
            "by commas.",
            (COMPARE,),
            keyword="Sequence[StrPath]",
            default="none",
            many=True,
            commas=True,
        ),
    ] = ()
    data: Annotated[
        Path | None,
        Option(
            "Directory with local data, in the upstream layouts.",
            _ALL,
            keyword="StrPath | None",
            default=f"{DATA.name}, or the hub",
        ),
    ] = None
    engine: Annotated[
        tuple[str, ...],
        Option(
            "Engines that run the variants, separated by commas (`bitloss list`); the first gives "
            "the results, and the others are compared with it.",
            (COMPARE, PERPLEXITY),
            keyword="str | Sequence[str]",
            default="dense",
            names="ENGINES",
            many=True,
            commas=True,
        ),
    ] = ("dense",)
    cache_type: Annotated[
        str,
        Option(
            "Type of cached keys and values while variants run, TYPE or KEYS/VALUES (q8_0, fp8).",
            (COMPARE,),
            default="the engine's",
        ),
    ] = ""
    activations: Annotated[
        str,
        Option(
            "Type to round the inputs of variants' layers to: int8, fp8, nvfp4 or `checkpoint`.",
            (COMPARE,),
            default="not quantized",
        ),
    ] = ""
    speed: Annotated[
        bool,
        Option(
            "Measure speed and memory of every variant, in every way, in turns with the reference.",
            (COMPARE,),
        ),
    ] = False
    context_tokens: Annotated[
        int,
        Option(
            "Context length, in tokens, of the memory stated with speeds.", (COMPARE,), minimum=1
        ),
    ] = 8192
    protocol: Annotated[
        str,
        Option("Perplexity protocol: windows and averages (`bitloss list`).", names="PROTOCOLS"),
    ] = "strided"
    max_length: Annotated[int | None, Option("Tokens per window.", default=_PROTOCOLS)] = None
    stride: Annotated[int | None, Option("Tokens between windows.", default=_PROTOCOLS)] = None
    limit: Annotated[
        int | None,
        Option(
            "Maximum windows per corpus and items per task, drawn at random.",
            minimum=1,
            default="the suite's, or all",
        ),
    ] = None
    until: Annotated[
        Until,
        Option(
            "When to stop scoring a variant: `decided` stops once its verdict is settled, and on "
            "tasks once the recommendation is.",
            (COMPARE,),
        ),
    ] = "all"
    precision: Annotated[
        float | None,
        Option(
            "Stop scoring a variant once the half-width of its relative perplexity's interval is "
            "at most this (0.005).",
            (COMPARE,),
            above=0,
        ),
    ] = None
    chat: Annotated[
        bool, Option("Apply the model's chat template to every prompt of a task.", _MEASURED)
    ] = False
    template_args: Annotated[
        dict[str, Any],
        Option(
            "Argument for the chat template, as KEY=JSON: `enable_thinking=false`.",
            _MEASURED,
            flag="--template-arg",
            keyword="Mapping[str, Any] | Sequence[str]",
            default="none",
            many=True,
        ),
    ] = field(default_factory=dict)
    thinking_budget: Annotated[
        int | None,
        Option(
            "Maximum tokens of thinking, in addition to those of the answer; a text that is still "
            "thinking then has no answer.",
            _MEASURED,
            minimum=1,
            default="the answer's own tokens",
        ),
    ] = None
    thinking_markers: Annotated[
        str, Option("Markers around a model's thinking, as BEGIN,END.", _MEASURED)
    ] = MARKERS
    samples: Annotated[
        int | None,
        Option(
            "Texts to generate per item of tasks scored by pass@k.",
            _MEASURED,
            minimum=1,
            default="the task's",
        ),
    ] = None
    unsafe_exec: Annotated[
        bool,
        Option("Run programs that models write without a sandbox, at your own risk.", _MEASURED),
    ] = False
    dtype: Annotated[
        DtypePolicy,
        Option("Arithmetic; `auto` rescores in fp32 what is near the noise floor."),
    ] = "auto"
    device: Annotated[
        str,
        Option(
            "Torch device for scoring and quantizing: cpu, cuda, cuda:1; or several equal ones, "
            "separated by commas (cuda:0,cuda:1).",
            _ALL,
        ),
    ] = "cpu"
    gpu_memory: Annotated[
        float | None,
        Option(
            "Share of a GPU's memory that engine `vllm` may take, 0 to 1.",
            (COMPARE,),
            above=0,
            default="what is free, at most 0.9",
        ),
    ] = None
    batch_tokens: Annotated[
        int | None,
        Option("Tokens per forward pass.", minimum=1, default="2048, on a CUDA device 16384"),
    ] = None
    memory: Annotated[
        str | None,
        Option(
            "Memory limit for a model, such as 8GB; a larger model is read a layer at a time, with "
            "the same results.",
            default="what the device has free",
        ),
    ] = None
    calibration: Annotated[
        Calibration,
        Option(
            "Calibration of recipes that do not name a corpus.",
            (COMPARE, QUANTIZE),
            keyword="StrPath | Calibration",
        ),
    ] = DEFAULT_CALIBRATION
    replicates: Annotated[
        int,
        Option(
            "Copies to make of each recipe that depends on a seed, with seeds from --seed up; "
            "intervals then include the quantizer's own spread.",
            (COMPARE,),
            minimum=1,
        ),
    ] = 1
    seed: Annotated[
        int,
        Option("Random seed for the bootstrap, calibration, and drawn windows and items.", _ALL),
    ] = 0
    executor: Annotated[
        str,
        Option(
            "Where to run the work: `local`, `ray`, or `ray://HOST:PORT` (the address that "
            "`ray start --head` prints).",
            (COMPARE,),
            where=True,
        ),
    ] = "local"
    workers: Annotated[
        int | None,
        Option(
            "Maximum number of workers in a cluster.",
            (COMPARE,),
            minimum=1,
            default="as many as fit",
            where=True,
        ),
    ] = None
    price: Annotated[
        float | None,
        Option(
            "Price of a worker per hour, in any currency, for `--plan`.",
            (COMPARE,),
            above=0,
            default="none",
            where=True,
        ),
    ] = None
    trust_remote_code: Annotated[bool, Option("Run a model's own Python code.", _ALL)] = False

    @property
    def tokens_in_forward(self) -> int:
        """`batch_tokens`, or what suits the device: a card waits for launches of small forwards."""
        if self.batch_tokens is not None:
            return self.batch_tokens
        return 16384 if self.main_device.partition(":")[0] == "cuda" else 2048

    @property
    def devices(self) -> tuple[str, ...]:
        """`device` as single devices; one, or several that share the work."""
        return tuple(name.strip() for name in self.device.split(","))

    @property
    def main_device(self) -> str:
        """The first of them, where what is done once is done."""
        return self.devices[0]

    @property
    def memory_bytes(self) -> int | None:
        """`memory` as a number; None if it is not limited.

        Raises:
            UsageError: it is no size.
        """
        return None if self.memory is None else parse_size(self.memory, "--memory")

    @property
    def sequential(self) -> bool:
        """Whether texts are scored in looks, in random order, until enough is known."""
        return self.until == "decided" or self.precision is not None

    @property
    def limited(self) -> bool:
        """Whether a limit may leave out some of a corpus or a task."""
        return (
            self.limit is not None
            or bool(self.corpus_limits)
            or any(task.limit is not None for task in self.tasks)
        )

    @property
    def protocol_parameters(self) -> dict[str, Any]:
        """Values that replace the protocol's own."""
        given = {"max_length": self.max_length, "stride": self.stride}
        return {name: value for name, value in given.items() if value is not None}

    def to_json(self) -> Any:
        """What a fingerprint of the run is taken of: every field as JSON has it, but for those that
        only say where work is done.
        """
        from pydantic_core import to_jsonable_python

        values = to_jsonable_python(self)
        for option in options_of(deep=False):
            if option.option.where:
                del values[option.keyword]
        return values


def options_of(command: str = "", *, deep: bool = True) -> tuple[Declared, ...]:
    """A run's options; see `bitloss.spec.options.declared`."""
    return declared(RunSpec, command, deep=deep)
