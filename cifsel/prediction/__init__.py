"""Restored models: predictions for photos, Grad-CAM, and answers in text, JSON and CSV."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
