"""What those use who work on this package."""
