"""What a study will cost, whether that fits a budget, and what it can resolve. No torch, no Ray.

Asked before anything starts; only the process of a dry step trains. Not here: which cells there are
(`sweep.cells`), what has been spent (`sweep.engine.meter`).
"""
