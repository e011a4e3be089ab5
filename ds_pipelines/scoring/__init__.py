"""Scoring: standardised daily jobs on production data, and their delivery to the systems that read the results.

What belongs here: what a scoring job is, loading a released model safely, computing a day, checking it against its
contract, and making it visible whole with a receipt. What does not: which jobs there are and what they compute
(`production/jobs`), which model is in use (`release`), and when anything runs (`production`).
"""
