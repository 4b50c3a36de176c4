"""Task 2: how far a classifier of a person's photos can be trusted, and that classifier."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
