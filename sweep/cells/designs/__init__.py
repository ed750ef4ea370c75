"""Kinds of designs: which subsets of the losses become cells, and what can be estimated from them.

``catalogue.DESIGNS`` is the table; every other file holds functions (losses, settings) -> sets.
Not here: what a report compares and how (`report`), searches (`cells.search`).
"""
