"""The packed-kernel engine: a quantized file run by the kernels of the library that loads it.

plug      what the registry holds: the engine as the rest of bitloss knows it
methods   which library runs a quantization method, with which kernels
loading   a model loaded by that library, and checked
library   foreign libraries kept from printing and from changing the process
model     a loaded model that gives logits, and one that writes
"""
