"""The report of a sweep, made from the files of its folder alone (no torch, no ray)."""
