"""How a trained model is tested: conditions, tested clips, what a model says of them, results.

What all tasks share. Not here: what one task scores (`tasks`) and numbers about outcomes
(`metrics`).
"""
