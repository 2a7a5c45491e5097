"""Metrics: which there are, where they are recorded, and where they are published."""
