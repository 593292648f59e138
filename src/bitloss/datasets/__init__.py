"""Running text: by registered name or from the user's own file, local first, then from a hub."""

from bitloss.datasets.calibration import calibration_tokens
from bitloss.datasets.corpora import is_corpus_path, load_corpus
from bitloss.datasets.local import data_directory

__all__ = ["calibration_tokens", "data_directory", "is_corpus_path", "load_corpus"]
