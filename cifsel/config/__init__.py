"""The fields of a config, stated once, and how commands read, check, change and compare configs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
