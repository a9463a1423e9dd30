"""verifier: decides whether a Helm chart may be installed, and says why."""

__version__ = "0.1.0"
