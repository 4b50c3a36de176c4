"""Transfer learning on small image sets with JAX and Flax."""

import os

import lazy_loader

from cifsel.runtime import starting

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

if starting.is_command():
    starting.end_quietly()

# XLA and TensorFlow read it when they are imported, which comes later. Otherwise XLA warns of slow
# compilation in ten lines, and TensorFlow of the machine's parts.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
