"""Metrics that a copy of a classifier can be tuned for, one a file (definitions §5)."""
