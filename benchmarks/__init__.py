"""Measurements that take too long for the tests. On this machine alone; no AWS, no model."""
