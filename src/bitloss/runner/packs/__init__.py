"""Packs: a reference's hidden states, with all that compares variants with it but its weights.

opened     a pack's directory, every file of it checked
choices    what a run may choose of what a pack has
questions  windows and items as files
model      the reference's head, tokenizer and license
reading    what a plan takes from a pack in place of weights and data
sizes      how large a pack will be
making     a pack made: scored as a run is, then put together
"""
