"""The embedded registry: the distribution API over image layouts on disk, for demos, tests and small sites."""
