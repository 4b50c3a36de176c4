"""Run configurations, one file per run a person would name."""
