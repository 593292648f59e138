"""Every plug by name, as an import path: nothing is imported before it is asked for.

A new format, protocol, corpus, task, quantizer, engine or study is one file and one line here.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bitloss.errors import UnknownName

__all__ = [
    "CORPORA", "ENGINES", "FORMATS", "OWN_STUDIES", "PAGES", "PROTOCOLS", "QUANTIZERS", "STUDIES",
    "TASKS", "TASK_SOURCES", "VIEWS", "describe", "load",
]  # fmt: skip

# Modules with `matches(path) -> bool` and `open_checkpoint(path, name) -> Checkpoint`,
# asked in this order.
FORMATS = MappingProxyType(
    {
        "gguf": "bitloss.formats.gguf",
        "gptq": "bitloss.formats.safetensors.gptq",
        "awq": "bitloss.formats.safetensors.awq",
        "auto-round": "bitloss.formats.safetensors.auto_round",
        "compressed-tensors": "bitloss.formats.safetensors.compressed_tensors",
        "exl3": "bitloss.formats.safetensors.exl3",
        "mlx": "bitloss.formats.safetensors.mlx",
        "bitsandbytes": "bitloss.formats.safetensors.bitsandbytes",
        "hqq": "bitloss.formats.safetensors.hqq",
        "torchao": "bitloss.formats.safetensors.torchao",
        "fp8": "bitloss.formats.safetensors.fp8",
        "modelopt": "bitloss.formats.safetensors.modelopt",
        "mxfp4": "bitloss.formats.safetensors.mxfp4",
        "safetensors": "bitloss.formats.safetensors.dense",
    }
)

# Frozen dataclasses that satisfy `bitloss.protocols.base.PerplexityProtocol`.
PROTOCOLS = MappingProxyType(
    {
        "strided": "bitloss.protocols.strided:Strided",
        "strided-as-published": "bitloss.protocols.strided:StridedAsPublished",
        "window-mean": "bitloss.protocols.window_mean:WindowMean",
        "gptq": "bitloss.protocols.gptq:Gptq",
        "llama.cpp": "bitloss.protocols.llama_cpp:LlamaCpp",
        "lm-eval-wikitext": "bitloss.protocols.lm_eval_wikitext:LmEvalWikitext",
        "exllamav3": "bitloss.protocols.exllamav3:Exllamav3",
    }
)

# Functions `(data: Path | None) -> Corpus`.
CORPORA = MappingProxyType(
    {
        "wikitext-2": "bitloss.datasets.wikitext:wikitext_2",
        "wikitext-2-valid": "bitloss.datasets.wikitext:wikitext_2_valid",
        "wikitext-103": "bitloss.datasets.wikitext:wikitext_103",
        "web": "bitloss.datasets.calibration:web",
        "code": "bitloss.datasets.calibration:code",
        "wiki": "bitloss.datasets.calibration:wiki",
        "technical": "bitloss.datasets.calibration:technical",
        "pocket-prose": "bitloss.datasets.pocket:prose",
        "pocket-code": "bitloss.datasets.pocket:code",
        "pocket-calibration-prose": "bitloss.datasets.pocket:calibration_prose",
        "pocket-calibration-code": "bitloss.datasets.pocket:calibration_code",
        "pocket-calibration-mixed": "bitloss.datasets.pocket:calibration_mixed",
    }
)

# Values of `bitloss.quantizers.base.Quantizer`, by the method that a recipe's name begins with.
QUANTIZERS = MappingProxyType(
    {
        "gptq": "bitloss.quantizers.gptqmodel:GPTQ",
        "awq": "bitloss.quantizers.gptqmodel:AWQ",
        "gguf": "bitloss.quantizers.llama_cpp:GGUF",
    }
)

# Values of `bitloss.tasks.base.Task`.
TASKS = MappingProxyType(
    {
        "lambada": "bitloss.tasks.lambada:LAMBADA",
        "hellaswag": "bitloss.tasks.hellaswag:HELLASWAG",
        "mmlu": "bitloss.tasks.mmlu:MMLU",
        "arc_easy": "bitloss.tasks.arc:ARC_EASY",
        "arc_challenge": "bitloss.tasks.arc:ARC_CHALLENGE",
        "ceval": "bitloss.tasks.ceval:CEVAL",
        "ifeval": "bitloss.tasks.ifeval:IFEVAL",
        "gsm8k": "bitloss.tasks.gsm8k:GSM8K",
        "humaneval": "bitloss.tasks.humaneval:HUMANEVAL",
        "humaneval_plus": "bitloss.tasks.humaneval:HUMANEVAL_PLUS",
        "bbh": "bitloss.tasks.bbh_cot:BBH",
        "bbh_choice": "bitloss.tasks.bbh_choice:BBH_CHOICE",
        "logiqa": "bitloss.tasks.logiqa:LOGIQA",
        "winogrande": "bitloss.tasks.winogrande:WINOGRANDE",
        "pocket_completion": "bitloss.tasks.pocket:POCKET_COMPLETION",
        "pocket_knowledge_en": "bitloss.tasks.pocket:POCKET_KNOWLEDGE_EN",
        "pocket_knowledge_zh": "bitloss.tasks.pocket:POCKET_KNOWLEDGE_ZH",
        "pocket_instructions": "bitloss.tasks.pocket_instructions:POCKET_INSTRUCTIONS",
        "pocket_math": "bitloss.tasks.pocket:POCKET_MATH",
        "pocket_code": "bitloss.tasks.pocket:POCKET_CODE",
        "pocket_logic": "bitloss.tasks.pocket:POCKET_LOGIC",
    }
)

# Values of `bitloss.tasks.base.TaskSource`, by what stands before the colon of a task's name.
TASK_SOURCES = MappingProxyType({"lm-eval": "bitloss.tasks.lm_eval.source:SOURCE"})

# Values of `bitloss.engines.base.Engine`.
ENGINES = MappingProxyType(
    {
        "dense": "bitloss.engines.dense.plug:ENGINE",
        "llama.cpp": "bitloss.engines.llamacpp.plug:ENGINE",
        "packed": "bitloss.engines.packed.plug:ENGINE",
        "server": "bitloss.engines.server.plug:ENGINE",
        "vllm": "bitloss.engines.vllm.plug:ENGINE",
    }
)

# Values of `bitloss.studies.base.Study`.
STUDIES = MappingProxyType(
    {
        "bits": "bitloss.studies.bits.study:BITS",
        "group-size": "bitloss.studies.group_size.study:GROUP_SIZE",
        "act-order": "bitloss.studies.act_order.study:ACT_ORDER",
        "calibration": "bitloss.studies.calibration.study:CALIBRATION",
        "architecture": "bitloss.studies.architecture.study:ARCHITECTURE",
        "context": "bitloss.studies.context.study:CONTEXT",
    }
)

# Studies with a command and a result of their own: functions `(model, **options) -> StudyDocument`.
OWN_STUDIES = MappingProxyType(
    {
        "sensitivity": "bitloss.studies.sensitivity:sensitivity",
        "recipe": "bitloss.studies.recipe:recipe_study",
    }
)

# Functions `(comparison: Comparison) -> Any`, and for `study` of a `StudyResult`: how Python shows
# a result (`print`, notebooks).
VIEWS = MappingProxyType(
    {
        "text": "bitloss.tables.comparison:plain",
        "html": "bitloss.tables.comparison:html",
        "dataframe": "bitloss.tables.frames:dataframe",
        "study": "bitloss.studies.tables:plain",
        "sensitivity": "bitloss.studies.sensitivity.tables:plain",
        "recipe": "bitloss.studies.recipe.tables:plain",
    }
)

# Functions from a study's document to its `bitloss.studies.page.content.PageContent`.
PAGES = MappingProxyType(
    {
        "study": "bitloss.studies.page.study:content",
        "sensitivity": "bitloss.studies.sensitivity.page:content",
        "recipe": "bitloss.studies.recipe.page:content",
    }
)


def load(kind: str, table: MappingProxyType[str, str], name: str) -> Any:
    """Import the plug that `table` has under `name`.

    Raises:
        UnknownName: no such plug, with the closest names as a hint.
    """
    if name not in table:
        raise UnknownName(kind, name, table)
    module, _, attribute = table[name].partition(":")
    plug = importlib.import_module(module)
    return getattr(plug, attribute) if attribute else plug


def describe(table: Mapping[str, str]) -> dict[str, str]:
    """The first line of every plug's docstring, read from its source: nothing is imported."""
    return {name: _first_line(entry) for name, entry in table.items()}


def _first_line(entry: str) -> str:
    module, _, attribute = entry.partition(":")
    source = _source_of(module)
    if source is None:
        return ""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == attribute:
            return _summary(ast.get_docstring(node))
    return _summary(ast.get_docstring(tree))


def _source_of(module: str) -> Path | None:
    """A module's file. Finding its package imports nothing; finding the module itself would."""
    package, *names = module.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    if not spec.submodule_search_locations:
        return Path(spec.origin) if spec.has_location and spec.origin else None
    base = Path(next(iter(spec.submodule_search_locations)), *names)
    return base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py"


def _summary(docstring: str | None) -> str:
    return (docstring or "").partition("\n")[0].rstrip(".")
