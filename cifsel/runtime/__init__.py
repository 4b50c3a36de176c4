"""The terminal, devices and processes, signals, memory, failures, and paths on gs://."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
