"""Published tables as immutable files named by their content, and the manifests that say which file is which day.

What belongs here: staging, publishing and finding snapshots. What does not: making them (`extract`) or serving them
(`gateway`).
"""
