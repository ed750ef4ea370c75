"""Runs the cells of a study: the folder, the session that hands them out, Ray Tune or this process.

`run.py` is the way in, `session.py` what an engine talks to. Not here: what a cell is (`cells`)
and what running one means (`trial.py`).
"""
