"""Measurements and their commands; experiments/README.md has the results."""
