"""Drafting a privacy policy for a database that nobody has decided on yet; when in doubt, it withholds.

What belongs here: what names, keys, types and values suggest about a column, and the policy that follows from it. What
does not: whether a policy fits (`catalogue`), and carrying it out. Values are looked at in memory and told to nobody:
a draft holds names, types and counts.
"""
