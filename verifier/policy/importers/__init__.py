"""Policies of other programs as drafts of ours: one module for each, each with a list of what could not be carried over."""
