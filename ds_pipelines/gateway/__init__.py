"""The exposed service through which development reads extracts (`server`), and its client (`client`)."""
