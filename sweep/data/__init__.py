"""Readers, decoding, the embedded data set and the cache of clips."""
