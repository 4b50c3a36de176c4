"""Forward passes over data, and the numbers that are made of them."""
