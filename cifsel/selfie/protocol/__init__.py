"""The protocol of task 2: folds, nested cross-validation, candidates, permutation test, scores."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
