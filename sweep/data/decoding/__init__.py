"""From a video file to stored frames: decoders, the index of what is readable, workers, stores.

Not here: which clips belong to a data set (`data.readers`).
"""
