"""The watch over production: what is wrong, who is told, and whether releases keep what they promised.

What belongs here: problems and the alerts about them, the channels by which they go out, figures for Prometheus, live
performance against a release's promise, and the weekly report. What does not: when anything of it happens, and reading
Dagster's events (`production`).
"""
