"""Tables of results in Markdown, made from the records in experiments/results/."""
