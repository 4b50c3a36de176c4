"""Photo files, folders and zips, as pixels with labels; copies, bursts, and crops."""
