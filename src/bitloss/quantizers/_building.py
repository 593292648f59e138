"""A lock for building transformers models, since recipes are carried out side by side.

transformers builds a model in its own dtype by setting torch's default one, for all threads, and
sets back what it found before: two that build at once can leave the process in bf16.
"""

import threading

__all__ = ["BUILDING"]

BUILDING = threading.Lock()
