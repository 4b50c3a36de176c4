"""Reports for people: pages, figures, and the style that they share."""
