"""From a folder on disk to clips in memory; `README.md` has the way.

Readers of annotations, decoding, stores, splits, the embedded data sets. Not here: which clips make
a batch (`sweep.training`) and what tests show (`sweep.evaluation`).
"""
