"""Ours against the naive way: interleaved in one process, equal outputs checked first.

One file per subject, rows in `commands/bench.py`. Not here: tests.
"""
