"""YAML of files that others wrote: one way to read it, with bounds on what it may become.

A few lines of aliases stand for billions of values, and PyYAML reads some hundred kilobytes a
second; so what a text would become is counted on its nodes, before any value is made of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

__all__ = ["YamlFault", "compose_yaml", "load_yaml"]

_LONGEST = 1 << 20
"""Characters of a text."""
_DEEPEST = 64
_MOST_ALIASED = 100_000
"""Values that stand for others by an alias, and what is in them."""


class YamlFault(ValueError):  # noqa: N818 - never leaves the code that reads a file
    """What is wrong with a text.

    Attributes:
        problem: in words.
        line: from 1; None where there is none to name.
        hint: what to do about it.
    """

    def __init__(self, problem: str, line: int | None = None, *, hint: str) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")
        self.problem = problem
        self.line = line
        self.hint = hint


def compose_yaml(text: str) -> yaml.Node | None:
    """The nodes of a text of one document; None for an empty one.

    An alias is the node that it stands for, so that nodes may be shared, or stand within
    themselves.

    Raises:
        YamlFault: it is not YAML, longer than a megabyte, nested too deep, or stands for too many
            values.
    """
    import yaml

    if len(text) > _LONGEST:
        raise YamlFault(
            f"expected at most {_LONGEST:,} characters, got {len(text):,}",
            hint="move long data into a file of its own, for example rows into a .jsonl file",
        )
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise YamlFault(
            f"not YAML: {error.problem or error.context}",
            error.problem_mark.line + 1 if error.problem_mark else None,
            hint="quote a value that has a colon, a brace or another special character in it",
        ) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # no such characters
        problem = " ".join(str(error).split())
        raise YamlFault(f"not YAML: {problem}", hint="remove the unprintable characters") from error
    except RecursionError as error:
        raise _too_deep(None) from error
    if node is not None:
        _check(node)
    return node


def load_yaml(text: str) -> Any:
    """The values of a text, with YAML's own types.

    Raises:
        YamlFault: see `compose_yaml`; or a value is not what its tag says.
    """
    import yaml

    compose_yaml(text)
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        problem = f"not YAML: {error.problem or error.context}"
        raise YamlFault(problem, line, hint="correct or quote the value") from error
    except (yaml.YAMLError, ValueError, ArithmeticError, TypeError, RecursionError) as error:
        # Dates and numbers that are none; keys that cannot be keys.
        raise YamlFault(f"not YAML: {error}", hint="correct or quote the value") from error


def _check(top: yaml.Node) -> None:
    """Count what the nodes stand for, and how deep, each node once."""
    sizes: dict[int, int] = {}
    depths: dict[int, int] = {}
    own, stack, around = 0, [(top, False)], {id(top)}
    while stack:
        node, done = stack.pop()
        children = _children(node)
        if not done:
            if id(node) in sizes:
                continue
            own += 1
            around.add(id(node))
            stack.append((node, True))
            # One that is around already stands within itself, and ends there.
            stack += [(child, False) for child in children if id(child) not in around]
            continue
        around.discard(id(node))
        sizes[id(node)] = 1 + sum(sizes.get(id(child), 1) for child in children)
        depths[id(node)] = 1 + max((depths.get(id(child), 1) for child in children), default=0)
        if depths[id(node)] > _DEEPEST:
            raise _too_deep(node)
    if sizes[id(top)] > own + _MOST_ALIASED:
        raise YamlFault(
            f"expected at most {_MOST_ALIASED:,} values by aliases, got {sizes[id(top)] - own:,}",
            hint="write the values out in place of aliases (`*name`)",
        )


def _children(node: yaml.Node) -> list[yaml.Node]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _too_deep(node: yaml.Node | None) -> YamlFault:
    return YamlFault(
        f"expected lists and keys at most {_DEEPEST} deep, got more",
        None if node is None else node.start_mark.line + 1,
        hint="write the file with less nesting",
    )
