"""Evaluation of candidates beside a reference.

scorer       the `PairScorer`: bodies first, heads after
shards       a text in pieces that are done, stored and resumed one at a time
state_cache  hidden states between the two
heads        all models' heads over the vocabulary, shard by shard
head         one model's own head
keys         names of states and records
"""
