"""Trust material: what we believe in, raw; each scheme parses its own kind."""
