"""Data sets of a user's own: folders, zips, lists and tfds sets, as stored images with splits."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
