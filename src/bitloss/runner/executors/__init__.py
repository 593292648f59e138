"""Where a run's work is done: on this machine, or by workers on others.

local      jobs in the order of the list, on this machine
elsewhere  the plug: what an executor with workers does for a run
schedule   which worker takes which part, and what is done again when one is lost
simulate   the same schedule on a made-up clock: for ``--plan`` and for tests
parts      work that travels, and what comes home
worker     carries parts out, on whatever machine
pool       workers kept busy, results brought home to one writer
scorer     a `PairScorer` whose work the workers do
delegate   the plug over a pool: scoring, texts and variants
choose     ``--executor`` understood and checked
cluster    workers as Ray actors

Only `cluster` knows Ray. A run is carried out in the same order by every executor, in one thread of
one process; workers fill the store ahead of it, so that what it comes to depends on none of them.
"""
