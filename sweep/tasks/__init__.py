"""What a model is trained for and tested by: one row in `catalogue.py` and one file per task.

A task says its metrics, what it needs of data and model, and how clips are scored. Not here: how
tested clips are made (`evaluation`) and formulas of metrics (`metrics`).
"""
