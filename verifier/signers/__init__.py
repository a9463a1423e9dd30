"""Signing keys by URI: a file, or the environment."""
