"""The code location production: extracts, scoring jobs and their schedules, on the production side of the house."""
