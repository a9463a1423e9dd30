"""`python -m verifier`."""

from verifier.cli.main import run

if __name__ == "__main__":
    run()
