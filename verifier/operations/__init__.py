"""One module per verb; here mechanisms meet. Start with `verification`."""
