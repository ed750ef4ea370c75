"""The embedded data set: real H.264 clips drawn from a seed, in the layouts of published sets.

Not here: how data sets are read (`data.readers`).
"""
