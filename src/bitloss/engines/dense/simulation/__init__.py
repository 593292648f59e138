"""What a runtime stores in few bits while a model runs, in the dense engine's forward.

floats       rounding to small floats
blocks       llama.cpp's types of blocks, as its reference functions store them
cache_types  what becomes of keys and values in a cache, and the rotation before it
cache        the place in the forward where attention gets keys and values
activations  what becomes of the inputs of a matrix product
linear       the places in the forward where numbers enter one
inputs       which of a model's layers get which type
simulation   all of it, set for one model and cleared for the next
"""
