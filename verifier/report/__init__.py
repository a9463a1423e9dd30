"""Decisions as text, JSON, SARIF and CI annotations."""
