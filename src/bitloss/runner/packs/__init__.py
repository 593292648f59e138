"""Packs: a reference's hidden states, with all that compares variants with it but its weights.

opened     a pack's directory, every file of it checked
choices    what a run may choose of what a pack has
questions  windows and items as files
model      the reference's head, tokenizer and license
reading    what a plan takes from a pack in place of weights and data
sizes      how large a pack will be
rounding   hidden states in fewer bytes; rounding_floor: what that adds to the noise floor
parts      the parts of a pack's document; making: a pack made, scored as a run is
"""
