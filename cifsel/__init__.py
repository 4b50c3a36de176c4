"""Transfer learning on small image sets with JAX and Flax."""
