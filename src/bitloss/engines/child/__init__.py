"""A model that is run in a process of its own, so that a crash of native code is an error.

Nothing is imported here: `logits` needs torch, which the child may do without.

An engine names a function of its own (`Start.load`) and the plain values that it takes. The child
calls it and serves what it returns: an object with ``vocabulary`` and ``logits(window)``, or
``logits_of(windows)`` where windows gain from each other (a `bitloss.engines.base.LogitsModel`
whose blocks may be numpy arrays). `logits.ChildLogits` is that model in the parent:

    ChildLogits(Start("bitloss.engines.mine.model:load", {"path": str(path)}, name=name, ...))

`texts.ChildTexts` is a model that writes. Blocks of logits are written once, into memory that both
processes have, and the parent reads them there. A child that dies is started again and its last
request repeated from the beginning; when it dies a second time, the model has failed. It ends with
its model, with its parent and with Ctrl-C.
"""
