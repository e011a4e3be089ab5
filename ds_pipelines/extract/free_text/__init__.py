"""Free text: what in it identifies people, found and masked, with the residual risk measured.

What belongs here: Presidio's findings over columns (`patterns`), what the database itself knows of its persons
(`known`), replacing what was found (`mask`), and measuring what is missed (`residual`). What does not: deciding
whether a text may leave at all; that is the policy's, and its default is to withhold it.
"""
