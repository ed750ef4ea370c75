"""Searches: the space, samplers, promotion and what is learned from finished trials (Optuna).

Not here: what a search may say (`settings.search`).
"""
