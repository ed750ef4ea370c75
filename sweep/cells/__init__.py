"""From a study to its cells: designs that list them, searches that suggest them.

`resolve.py` brings one cell into normal form. Not here: running them (`engine`).
"""
