"""What task 2 leaves for people."""
