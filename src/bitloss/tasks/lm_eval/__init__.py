"""Tasks of lm-evaluation-harness, written ``lm-eval:NAME``.

The harness's own code makes prompts and solved examples, filters what models write and grades it;
bitloss scores and compares. ``docs/lm-eval.md`` says what of it is the harness's and what is not.
"""
