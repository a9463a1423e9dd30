"""Helm's formats: chart archives, metadata, provenance text, packaging. Pure: bytes in, values out."""
