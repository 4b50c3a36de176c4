"""Damage, interruptions and little memory: what a run or a reader withstands."""
