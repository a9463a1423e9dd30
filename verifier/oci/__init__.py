"""Registries and image layouts: credentials, sessions, repositories, referrers."""
