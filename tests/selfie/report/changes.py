"""Outcomes of task 2 with other fields."""

import dataclasses


def with_photos(outcome, **fields):
    return dataclasses.replace(outcome, photos=dataclasses.replace(outcome.photos, **fields))


def with_candidate(outcome, position, **fields):
    """The outcome with other fields of a candidate."""
    candidates = list(outcome.candidates)
    candidates[position] = dataclasses.replace(candidates[position], **fields)
    return dataclasses.replace(outcome, candidates=tuple(candidates))
