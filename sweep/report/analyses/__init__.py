"""Answers to particular questions: one row in `catalogue.py` and one file per question.

An analysis finds its numbers once and says them in sentences, sections and tables. Not here: what
every report shows (`report.sections`), formulas (`statistics`).
"""
