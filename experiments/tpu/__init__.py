"""Cloud TPUs: scripts that launch training, and the answers of the TPU compiler."""
