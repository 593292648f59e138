"""Hybrids: a model with some tensors of another one, scored without running it all again.

hybrid   a checkpoint view that takes named tensors from another checkpoint
parts    kinds of modules, layers and groups of experts as lists of tensors
resume   a forward that begins at a layer, from the state that a full one had there
scorer   many swaps on the same windows, beside the reference
"""
