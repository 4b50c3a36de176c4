"""Devices and processes, signals, memory, failures of the machine, and paths on gs://."""
