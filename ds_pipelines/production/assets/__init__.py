"""Production's assets: the shop's tables, the anonymized extracts, the champions, the serving tables."""
