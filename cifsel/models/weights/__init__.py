"""Published Keras weights: where they come from and how they become Flax variables."""
