"""Formats of signed statements: DSSE, in-toto, sigstore bundles. No cryptography."""
