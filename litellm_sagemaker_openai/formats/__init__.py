"""Bytes ↔ values: what is sent and what is answered. Pure."""
