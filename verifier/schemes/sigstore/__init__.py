"""Sigstore bundles. Key-signed ones are verified here with `cryptography` alone; the `sigstore` package is not imported."""
