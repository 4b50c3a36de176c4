"""Cloud TPU: scripts that launch, and what the compiler says beforehand."""
