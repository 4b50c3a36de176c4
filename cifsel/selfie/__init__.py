"""Task 2: what a classifier of a few photos is worth, and the classifier."""
