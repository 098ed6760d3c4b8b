"""Facts about what is installed."""
