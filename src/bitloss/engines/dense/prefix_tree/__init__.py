"""Windows as a prefix tree, every token of which is computed once.

tree               which tokens windows have in common
forwards           the tree cut into forwards
attention          what its tokens attend to
partial_attention  attention over parts, put together by their log-sum-exp
packed             a forward of sequences without padding
states             hidden states of the whole tree
"""
