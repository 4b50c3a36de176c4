"""Arrays to logits: the two backbones in Flax Linen, and the classifier around them."""
