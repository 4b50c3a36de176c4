"""Fitting a classifier: the loop over epochs, its steps, the optimizer, and the linear probe."""
