"""From finished runs to a verdict: which model is better, by how much, and how sure that is."""
