"""Releases: a model or a computation, offered by a manifest in git and taken into production's registry.

What belongs here: the manifest, what it takes to be offered, what is verified before it is accepted, and which release
is in use. What does not: running experiments (`lab`) and scoring (`scoring`).
"""
