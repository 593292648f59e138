"""Plan, jobs, store: a run that can be killed and resumed."""
