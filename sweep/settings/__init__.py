"""What may be said in a study: one file per section of its YAML, without behaviour.

Types, defaults, limits of single values and the role of each. Not here: names held against
catalogues (`studies.checks`), files (`studies.load`).
"""
