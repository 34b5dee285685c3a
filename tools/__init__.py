"""What the Makefile runs: set-up, lint, measurements, and the scripts that made the shipped data."""
