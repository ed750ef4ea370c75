"""Losses that train a task itself; a study has exactly one, of weight 1.

Not here: losses that stand beside it (`auxiliary`).
"""
