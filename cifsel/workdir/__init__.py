"""The files of a run: config, metrics, checkpoints, lock, TensorBoard summaries, provenance."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
