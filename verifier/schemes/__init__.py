"""Schemes: the ways of proving. Each turns evidence into claims and rejections, and never raises on data."""
