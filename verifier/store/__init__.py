"""Decisions and fingerprints, kept."""
