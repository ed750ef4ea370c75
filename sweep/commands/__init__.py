"""The verbs of the command line, one file each: they ask, call and print.

Not here: anything that two verbs share and a library call could use.
"""
