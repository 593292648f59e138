"""The dense engine: every format decoded into one module graph.

plug         what the registry holds: the engine as the rest of bitloss knows it
graph        the module graph, refilled with each model's weights
precision    what weights are held in and how products are taken
attention    the model's own attention in more exact arithmetic
batches      windows grouped into forwards; hidden states at scored positions
prefix_tree  windows that begin alike, without repetition
scoring      candidates evaluated beside a reference
generation   text
text_model   one model that writes
cost         what work takes
memory       how the process keeps and returns memory
"""
