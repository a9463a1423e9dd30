"""Running Helm: the one place that knows its command line."""
