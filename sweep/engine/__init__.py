"""Runs the cells of a study: the folder, the session that hands them out, Ray Tune or this process.

`run.py` is the way in. `contract.py` says what an engine (`local.py`, `tune/`) may ask and tell;
`session.py` answers: the ledger, the queue (`cell_queue.py`), and those who listen (`board.py`,
`allowance.py`, `tracked.py`, `same_pixels.py`). Not here: what a cell is (`cells`), what running
one means (`trial.py`), and the report (`commands`).
"""
