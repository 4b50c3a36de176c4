"""Asks the TPU's compiler what a run needs on a TPU slice. No TPU is needed for that."""
