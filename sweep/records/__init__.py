"""What a sweep leaves on disk: records, outcomes, ledger, lock, environment; read without torch.

One writer and one reader per file format, older schemas included. Not here: what the numbers mean
(`metrics`, `statistics`) and who writes when (`engine`).
"""
