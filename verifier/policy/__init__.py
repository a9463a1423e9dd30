"""Policies: the document, its scopes and requirements, and the pure function that decides."""
