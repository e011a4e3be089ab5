"""What holds an experiment: caps on what it takes, and walls around what it may reach.

What belongs here: the mechanisms of the operating system, in the standard library alone, because they run in a small
process of their own that starts in milliseconds. What does not: how much an experiment may take (settings, its header)
and what it may read (`lab.launch`).
"""
