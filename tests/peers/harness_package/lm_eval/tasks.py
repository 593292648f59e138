"""`TaskManager`, tasks and groups."""

import math
import random
from pathlib import Path

import yaml
from lm_eval.api.instance import Instance
from lm_eval.api.messages import Message

_DEFAULTS = {"task": "builtin_task", "output_type": "multiple_choice", "doc_to_image": "picture"}


def mean(values):
    return sum(values) / len(values)


def perplexity(values):
    return math.exp(-mean(values))


def weighted_perplexity(values):
    return math.exp(-sum(a for a, _ in values) / sum(b for _, b in values))


def matthews(values):
    return sum(1 if a == b else -1 for a, b in values) / len(values)


def flat_mean(values):
    flat = [one for own in values for one in own]
    return sum(flat) / len(flat)


AGGREGATIONS = {
    "acc": mean, "acc_norm": mean, "exact_match": mean, "perplexity": perplexity,
    "word_perplexity": weighted_perplexity, "mcc": matthews, "parts": flat_mean,
}  # fmt: skip
LOWER_IS_BETTER = ("perplexity", "word_perplexity")


class Config(dict):
    """Settings of a task, by attribute or key."""

    def __getattr__(self, name):
        return self.get(name)


class TakeFirst:
    """A pipeline of filters: upper-cases texts where it is named so, and takes the first."""

    def __init__(self, name):
        self.name = name

    def apply(self, instances):
        for instance in instances:
            answer = instance.resps[0]
            if self.name == "upper":
                answer = answer.upper()
            instance.filtered_resps[self.name] = answer


class Task:
    VERSION = "Yaml"

    def __init__(self, config):
        self.config = Config(
            {"target_delimiter": " ", "fewshot_delimiter": "\n\n", "repeats": 1, **config}
        )
        if "load_error" in config:
            raise _ERRORS[config["load_error"]]
        self.OUTPUT_TYPE = config.get("output_type", "generate_until")
        self.MULTIMODAL = bool(config.get("doc_to_image"))
        self.UNSAFE_CODE = bool(config.get("unsafe_code"))
        metadata = config.get("metadata") or {}
        if "version" in metadata:
            self.VERSION = metadata["version"]
        self.eval_docs = [dict(doc) for doc in config.get("documents", ())]
        self.multiple_input = len(config["contexts"]) if "contexts" in config else 0
        self.instances = None
        self._filters = [TakeFirst(name) for name in config.get("filters", ["none"])]
        self._draw = None

    @property
    def task_name(self):
        return self.config["task"]

    def get_config(self, key):
        return self.config.get(key)

    def set_config(self, key, value, update=False):
        self.config[key] = value

    def set_fewshot_seed(self, seed=None):
        self._draw = random.Random(seed)

    def doc_to_text(self, doc):
        if self.multiple_input:
            return doc["gold"]
        return self.config["doc_to_text"].format(**doc)

    def doc_to_target(self, doc):
        wanted = self.config["doc_to_target"]
        return doc[wanted] if wanted in doc else wanted.format(**doc)

    def doc_to_choice(self, doc):
        return doc[self.config["doc_to_choice"]]

    def build_qa_turn(self, *, q, c=None, a=None, tgt_delim=" ", few_delim="\n\n"):
        if a is None:
            return [Message("user", q)]
        answer = c[a] if c is not None and isinstance(a, int) else a
        return [Message("user", q, tgt_delim), Message("assistant", answer, few_delim)]

    def fewshot_context(self, doc, num_fewshot, chat_template=None):
        messages = []
        if self.config.get("description"):
            messages.append(Message("system", self.config["description"]))
        choices = self.config.get("doc_to_choice")
        for one in self._draw.sample(self.config.get("examples", []), num_fewshot):
            messages += self.build_qa_turn(
                q=self.config["doc_to_text"].format(**one),
                c=one.get(choices) if choices else None, a=self.doc_to_target(one),
                tgt_delim=self.config["target_delimiter"],
                few_delim=self.config["fewshot_delimiter"],
            )  # fmt: skip
        if self.multiple_input:
            turns = [self.build_qa_turn(q=q.format(**doc)) for q in self.config["contexts"]]
            return ["".join(m.to_text() for m in [*messages, *own]) for own in turns]
        messages += self.build_qa_turn(q=self.doc_to_text(doc))
        if chat_template is not None:
            return chat_template([m.to_dict() for m in messages], add_generation_prompt=True)
        return "".join(message.to_text() for message in messages)

    def build_all_requests(
        self, *, limit=None, apply_chat_template=False, fewshot_as_multiturn=False,
        chat_template=None,
    ):  # fmt: skip
        print("Building contexts")  # the harness draws a bar
        self.instances = []
        for number, doc in enumerate(self.eval_docs[:limit]):
            context = self.fewshot_context(
                doc, self.config["num_fewshot"], chat_template if apply_chat_template else None
            )
            metadata = (self.task_name, number, self.config["repeats"])
            for index, (kind, arguments) in enumerate(
                self._requests(doc, context, "" if apply_chat_template else None)
            ):
                self.instances.append(Instance(kind, doc, arguments, index, metadata))

    def _requests(self, doc, context, delimiter):
        kind = self.OUTPUT_TYPE
        delimiter = self.config["target_delimiter"] if delimiter is None else delimiter
        if kind == "multiple_choice" and self.multiple_input:
            ending = f"{delimiter}{self.doc_to_target(doc)}"
            return [("loglikelihood", (one, ending)) for one in context]
        if kind == "multiple_choice":
            return [
                ("loglikelihood", (context, f"{delimiter}{choice}"))
                for choice in self.doc_to_choice(doc)
            ]
        if kind == "loglikelihood":
            return [(kind, (context, self.doc_to_target(doc)))]
        if kind == "loglikelihood_rolling":
            return [(kind, (self.doc_to_target(doc),))]
        if kind == "mixed":
            return [("loglikelihood", (context, " a")), ("generate_until", (context, {}))]
        return [(kind, (context, dict(self.config.get("generation_kwargs") or {})))]

    def process_results(self, doc, results):
        if "process_error" in self.config:
            raise ValueError(self.config["process_error"])
        listed = [one["metric"] for one in self.config.get("metric_list") or ()]
        known = self._metrics(doc, results)
        return {name: known[name] for name in listed or known if name in known}

    def _metrics(self, doc, results):
        kind = self.OUTPUT_TYPE
        if kind == "multiple_choice":
            scores = [logprob for logprob, _ in results]
            best = scores.index(max(scores))
            gold = doc["gold"]
            right = best in gold if isinstance(gold, list) else best == gold
            return {
                "acc": float(right), "mcc": (gold, best), "word": "no number",
                "percent": 100.0 * right, "scores": scores,
            }  # fmt: skip
        if kind == "loglikelihood":
            ((logprob, greedy),) = results
            return {"perplexity": logprob, "acc": int(greedy)}
        if kind == "loglikelihood_rolling":
            return {"word_perplexity": (results[0], len(self.doc_to_target(doc).split()))}
        text = results[0]
        if doc.get("surprise") and text:  # a score that shows only with a model's own text
            return {"exact_match": float("nan")}
        gold = str(self.doc_to_target(doc))
        return {
            "exact_match": float(text.strip() == gold),
            "parts": [letter in text for letter in gold],
        }

    def aggregation(self):
        return AGGREGATIONS

    def higher_is_better(self):
        return {name: name not in LOWER_IS_BETTER for name in AGGREGATIONS}

    def dump_config(self):
        return dict(self.config)


_ERRORS = {
    "package": ModuleNotFoundError("No module named 'sympy'", name="sympy"),
    "nameless package": ImportError("please install langdetect\nwith pip"),
    "offline": ConnectionError("Couldn't reach 'org/data' on https://hub.example/org/data"),
    "file": FileNotFoundError("Unable to find 'rows.jsonl'"),
}


class Group:
    def __init__(self, name, children, aggregate_metric_list=None):
        self.name = name
        self._children = children
        self.aggregate_metric_list = aggregate_metric_list

    def __iter__(self):
        return iter(self._children)

    @property
    def child_names(self):
        return [getattr(one, "name", None) or one.task_name for one in self._children]

    @property
    def has_aggregation(self):
        return bool(self.aggregate_metric_list)

    def get_all_tasks(self):
        found = []
        for child in self._children:
            found += child.get_all_tasks() if isinstance(child, Group) else [child]
        return found


class AggMetricConfig:
    def __init__(self, metric, filter_list=None):
        self.metric = metric
        self.filter_list = filter_list


class TaskManager:
    def __init__(self, include_path=None, include_defaults=True):
        self._configs = {_DEFAULTS["task"]: _DEFAULTS} if include_defaults else {}
        for folder in include_path or ():
            for path in sorted(Path(folder).glob("**/*.yaml")):
                config = yaml.safe_load(path.read_text(encoding="utf-8"))
                self._configs[config.get("group") or config["task"]] = config
        tags = {one["tag"] for one in self._configs.values() if "tag" in one}
        self.all_tasks = sorted([*self._configs, *tags])
        self.all_subtasks = [
            name for name, config in self._configs.items() if "group" not in config
        ]

    def load(self, names):
        (name,) = names
        if name not in self._configs:  # a tag
            members = [n for n, c in self._configs.items() if c.get("tag") == name]
            return {"tasks": {n: self._build(n) for n in members}, "groups": {}, "group_map": {}}
        built = self._build(name)
        if isinstance(built, Group):
            tasks = {task.task_name: task for task in built.get_all_tasks()}
            return {"tasks": tasks, "groups": {name: built}, "group_map": {}}
        return {"tasks": {name: built}, "groups": {}, "group_map": {}}

    def _build(self, name):
        config = self._configs[name]
        if "group" not in config:
            return Task(config)
        listed = [AggMetricConfig(**one) for one in config.get("aggregate_metric_list") or ()]
        return Group(name, [self._build(child) for child in config["task"]], listed)
