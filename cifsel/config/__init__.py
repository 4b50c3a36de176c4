"""The schema of configs, and how commands read them."""
