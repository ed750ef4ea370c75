"""The process that runs a trial: its seeds, its ranks, its device, its signs of life.

What a process of any trial needs, whatever is trained. Not here: anything of a study, a data set
or a model.
"""
