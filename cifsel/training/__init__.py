"""Fits a classifier: the loop over epochs, its steps, the optimizer, the linear probe."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
