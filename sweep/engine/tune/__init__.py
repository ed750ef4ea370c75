"""The cells of a sweep as trials of Ray Tune.

``tune_run`` is the way in: ``cluster`` connects, ``placement`` says what trials ask for,
``adapters`` are Tune's classes and pass on to ``decisions``, which say what becomes of a trial;
``worker`` (with ``ranked`` for several processes, and ``reporter``) runs one.

The only place that touches Ray. What was met in Ray 2.60 and is dealt
with here: a trial's working directory moves (relative paths break); token authentication is
switched on by a local start and writes a token into the user's home; socket paths have a length
limit; a demand that no node can meet waits for ever; a local storage path with several nodes fails
at the first Tune checkpoint (there are none: records travel in the last report); experiment state
is rewritten every few seconds with all results in it.
"""
