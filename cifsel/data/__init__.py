"""Bytes to arrays: data sets, batches and augmentation."""
