"""Numbers about many trials: intervals, contrasts, correlations, regressions, Shapley values.

Functions of numbers that know no record and no file. Not here: numbers about one trial
(`metrics`), words about numbers (`report`).
"""
