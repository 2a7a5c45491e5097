"""One request's way out and back."""
