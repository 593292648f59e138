"""bitloss's engines as a model of lm-evaluation-harness: ``lm_eval --model bitloss``.

`bitloss.lm_eval.model` is found by releases of the harness that look for plugins in the entry
points ``lm_eval.models``; ``python -m bitloss.lm_eval`` is the harness's own command line with the
model registered, for the releases before. Nothing here is imported by the rest of bitloss.
"""
