"""A checkpoint that answers: predictions for photos, and Grad-CAM."""
