"""Speed and memory of cifsel, beside Keras and PyTorch."""
