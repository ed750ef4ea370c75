"""The questions: built-in studies (`*.yaml`), how a study is read, and the checks of what it says.

Not here: the settings themselves (`settings`) and what a study becomes (`cells`).
"""
