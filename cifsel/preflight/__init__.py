"""What a run would take on a TPU slice, from the TPU's own compiler and without a TPU."""
