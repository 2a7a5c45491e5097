"""make live: tools/live*.py."""
