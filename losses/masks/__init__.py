"""Which parts of a clip a predictor must guess: blocks of tokens, places that move.

Not here: masked frames and words of training views (`sweep.training`).
"""
