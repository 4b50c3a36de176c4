"""Finished runs are compared here: which model is better, by how much, and how certain that is."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
