"""What a runtime stores in few bits while a model runs, in the dense engine's forward.

floats       rounding to small floats
blocks       llama.cpp's types of blocks, as its reference functions store them
cache_types  what becomes of keys and values in a cache, and the rotation before it
cache        the place in the forward where attention gets keys and values
"""
