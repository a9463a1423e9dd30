"""Guarded readers for the two text formats that everything here is written in: YAML and JSON."""
