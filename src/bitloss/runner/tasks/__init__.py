"""Tasks carried out: items to tokens, models evaluated, answers graded, one record per model.

encoding   prompts and answers in the reference's tokens, as many shots as fit
plan       the items of every task, chosen and encoded
texts      what models write
writers    the models that write, kept loaded as memory allows
grading    grades of texts, in threads
layout     the windows of all tasks in one row
records    what is kept of an item
items      a model's items, written
display    questions and answers in words, for people
run        all of it as jobs
"""
