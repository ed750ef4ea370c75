"""Numbers about one trial: robustness, agreement, calibration, retrieval, representation.

Functions of arrays, each with its source. Not here: anything over several trials (`statistics`).
"""
