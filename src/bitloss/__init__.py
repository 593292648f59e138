"""What did quantization cost this language model, and where?"""

from bitloss._version import __version__

__all__ = ["__version__"]
