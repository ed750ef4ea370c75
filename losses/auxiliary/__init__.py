"""Losses that stand beside the one of the task: one file each, named features in, a scalar out.

One idea per file, with its source; none imports another. Not here: what several losses are built
from (`losses.parts`), which parts of a clip are hidden (`losses.masks`).
"""
