"""Ways to make one number of all losses, a file each, and the meta step that teaches learned ones.

A row per combiner in `catalogue.py`. Not here: what is combined (`losses.auxiliary`), the loop that
descends the number (`sweep.training`).
"""
