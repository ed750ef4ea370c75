"""The report of a sweep, made from the files of its folder alone (no torch, no ray).

`README.md` has the way from files to the page. Not here: formulas (`sweep.statistics`,
`sweep.metrics`), reading records (`sweep.records`).
"""
