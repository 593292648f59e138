"""Models that do not fit in memory: all text goes through a layer before the next one is read."""

from bitloss.engines.dense.streaming.reading import can_stream, read_by_layers

__all__ = ["can_stream", "read_by_layers"]
