"""Measured claims: one module a question. Each prints a table with the limit beside it, and its figure last."""
