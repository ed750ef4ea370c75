"""Published video networks, one file per source; none imports another.

A file holds trunks (:class:`models.interface.Part`) and functions that rename the weights of
published files to ours. Not here: rows with their checkpoints (``models.catalogue``), heads and
normalisation, which every model is given (``models.assembled``).
"""
