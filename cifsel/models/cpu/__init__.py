"""The forms of operations that are quick on CPUs."""
