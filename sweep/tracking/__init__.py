"""Weights & Biases: every run is written by the driver, live or again from the ledger.

Not here: the comparison report (`report.workspace`).
"""
