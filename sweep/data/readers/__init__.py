"""One file per published data set: its annotation files to labelled clips, and its splits.

`annotation.py` holds what readers share. Not here: video files being opened (`data.decoding`).
"""
