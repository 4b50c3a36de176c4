"""How far a classifier of few photos can be trusted: what is held out and chosen."""
