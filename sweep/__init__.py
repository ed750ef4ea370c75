"""Everything that knows of trials, one package per word of the way from question to answer.

studies -> cells -> engine -> trial (data, training, tasks, evaluation) -> records -> metrics,
statistics -> report. Each package says at its head what belongs there and what does not.
"""
