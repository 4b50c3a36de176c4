"""Reads the outcome of a finished run of task 2 back from its metrics.json."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from cifsel.errors import UserError, one_line
from cifsel.selfie.outcome import Outcome
from cifsel.selfie.protocol.photo_set import PhotoSet
from cifsel.workdir import records
from cifsel.workdir.provenance import Provenance


def outcome_from_json(content: Mapping[str, Any], path: str) -> Outcome:
    """Reads what `serialization.metrics_json` wrote.

    Args:
      content: the parsed JSON.
      path: of the file, for messages.

    Raises:
      UserError: a field is missing or of another type.
    """
    try:
        provenance = {field.name: content[field.name] for field in dataclasses.fields(Provenance)}
        fields = {
            **content,
            "photos": _photos(content["photos"]),
            "seconds": content["seconds"]["all"],
            "provenance": provenance,
        }
        return records.read(Outcome, fields)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(
            f"{path} is not as this version of cifsel writes it ({type(error).__name__}:"
            f" {one_line(error)}): use the version that wrote it, or run it again in a new folder"
        ) from error


def _photos(content: Mapping[str, Any]) -> PhotoSet:
    """The photos, whose copies are named in JSON and numbered in a PhotoSet."""
    positions = {name: position for position, name in enumerate(content["names"])}
    copies = [[positions[i], positions[j], exact] for i, j, exact in content["copies"]]
    photos = records.read(PhotoSet, {**content, "copies": copies})
    if not len(photos.labels) == len(photos.groups) == len(photos.names):
        raise ValueError("photos has lists of different lengths")
    if not set(np.unique(photos.labels)) <= set(range(photos.num_classes)):
        raise ValueError("photos has labels without a class")
    return photos
