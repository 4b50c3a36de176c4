"""How fast this code is, beside its peers: `python -m experiments.bench`."""
