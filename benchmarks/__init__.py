"""One file a question; each prints its figure last, as one JSON object, and exits 0 when the goal holds."""
