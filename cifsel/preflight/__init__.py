"""Asks the TPU's compiler what a run needs on a TPU slice. No TPU is needed for that."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
