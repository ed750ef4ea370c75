"""What several losses are built from: attention, similarities, alignments, predictors.

Not here: a loss (`auxiliary`, `primary`) or what is used by one loss alone.
"""
