"""The packed-kernel engine: a quantized file run by the kernels of the library that loads it.

The libraries print, patch transformers and set environment variables, and some of their kernels are
native code. So they run in a process of its own (`bitloss.engines.child`).

plug      what the registry holds: the engine as the rest of bitloss knows it
methods   which library runs a quantization method, with which kernels
loading   what can be run, and a model loaded by its library, and checked
model     a loaded model that gives logits, and one that writes
"""
