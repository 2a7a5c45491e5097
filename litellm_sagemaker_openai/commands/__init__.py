"""The subcommands, a module each. What one needs is imported inside it, so that help is fast."""
