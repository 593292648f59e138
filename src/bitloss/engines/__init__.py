"""Engines run models; a run knows them through `bitloss.engines.base` alone.

base          the seam: what an engine offers, and what it is given
values        models, candidates, work: what goes through it
evaluate      which scorer serves a candidate, and a whole scoring in one call
logits        the scorer of every engine that yields logits
token_scores  a record's columns from two models' logits
running_softmax  one model's part of that, a block of the vocabulary at a time
dense         the dense engine, with a faster scorer of its own
"""
