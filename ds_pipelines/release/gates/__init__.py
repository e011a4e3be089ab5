"""The gates of acceptance: what a release must show before anybody can approve it.

What belongs here: one question a gate, the figures by which it is answered, and their order. What does not: offering
and approving (`release`), and showing the answers (`production.acceptance`).

Gates that load nothing come first and are all answered, so that every mistake is told at once. Only if none of them
refuses is the model loaded, and then in a process of its own that reaches no database, no secret and no network.
"""
