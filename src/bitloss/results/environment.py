"""What results depend on besides models, text and tasks."""

from __future__ import annotations

from typing import Annotated, Literal

from bitloss.results.values import OMIT_NULL, Frozen

__all__ = ["Engine", "Environment", "PackUsed", "Seeds"]


class Engine(Frozen):
    """The engine that scored, and the version of its arithmetic."""

    name: str
    version: str = ""

    def __str__(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}" if self.version else self.name


class Seeds(Frozen):
    """Random seeds by what they are for.

    Attributes:
        bootstrap: of the intervals.
        calibration: of calibration samples.
        limit: of the windows and items that a limit drew; absent if nothing was limited.
    """

    bootstrap: int
    calibration: int = 0
    limit: Annotated[int | None, OMIT_NULL] = None


class Environment(Frozen):
    """What results depend on besides models, text and tasks.

    Attributes:
        versions: of Python and of the packages at work.
        engine: see `Engine`.
        dtype: the requested arithmetic (``auto`` decides for each row).
        device: a torch device.
        cpu: the vector instructions that torch uses.
        card: name, generation and library of the card that computed; absent if none did.
        threads: of the engine.
        batch_tokens: tokens in one forward.
        seeds: see `Seeds`.
        until: ``decided`` if variants were scored until their verdicts were settled; absent if
            everything was scored.
        precision: half-width of the relative perplexity's interval that was enough, if one was
            requested.
        command: as the user typed it.
    """

    versions: dict[str, str]
    engine: Engine
    dtype: str
    device: str
    cpu: str = ""
    card: Annotated[str | None, OMIT_NULL] = None
    threads: int | None = None
    batch_tokens: int | None = None
    seeds: Seeds
    until: Annotated[Literal["decided"] | None, OMIT_NULL] = None
    precision: Annotated[float | None, OMIT_NULL] = None
    command: str = ""


class PackUsed(Frozen):
    """The pack that a run's reference was read from.

    Attributes:
        digest: of the pack.
        reference: name of the model that the pack was made of.
        bitloss: the version that made it.
    """

    digest: str
    reference: str
    bitloss: str
