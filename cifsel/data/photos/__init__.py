"""Photos of any kind as pixels: decoding, files and zips, labels, groups, crops."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
