"""Everything that knows of trials: studies -> cells -> engine -> trial (data, training, tasks,
evaluation) -> records -> metrics, statistics -> report.

One package per word of that line; each says at its head what belongs there and what does not.
"""
