"""What can be asked of an endpoint: one room for each."""
