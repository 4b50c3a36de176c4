"""Data sets and photos as arrays, and the images of each batch: reading, splits, augmentation."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
