"""From the production database to published, anonymized extracts, by a privacy policy.

What belongs here: the policy, reading production, pseudonyms, the transformation and its publication. What does not:
storing what was published (`snapshots`), serving it (`gateway`), or scheduling any of it (`production`).
"""
