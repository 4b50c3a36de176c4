"""What task 2 found, in sentences for the person whose photos they are."""

from collections.abc import Mapping
from typing import Any

from cifsel.reports.style import display_name, percent
from cifsel.selfie.protocol.sources import IMAGENET

Found = Mapping[str, Any]


def sentence(found: Found) -> str:
    """How often it was right, how far that can be trusted, and whether photos are what it lacks."""
    candidate = found["candidates"][found["chosen"]]
    score = candidate["leave_one_out"] or candidate["kfold"]
    low, high = score["accuracy_interval"]
    how = (
        "when each was held out"
        if candidate["leave_one_out"]
        else f"in {score['repeats']} x cross-validation"
    )
    right = round(score["right"], 1)
    shown = f"{right:g} of {score['examples']} photos right {how}"
    range_ = f"the true rate is likely between {percent(low)} and {percent(high)}"
    return f"{shown}; {range_}; {_luck(found, low)}; {_more(found)}."


def _luck(found: Found, low: float) -> str:
    if found["permutation"] is None:
        photos = found["photos"]
        guessing = max(photos["per_class"].values()) / photos["count"]
        return "that is more than guessing" if low > guessing else "guessing may do as well"
    p = found["permutation"]["p"]
    luck = "luck alone would hardly do as well" if p < 0.05 else "luck alone may well do as well"
    # The first candidate was tested, which need not be the chosen one.
    return f"{luck} (p = {p:.2g}{', of the probe' if found['chosen'] else ''})"


def _more(found: Found) -> str:
    if found["more_would_help"]:
        return "more photos would probably help"
    return "nothing says that more photos would help"


def notes(found: Found) -> list[str]:
    """What a reader should be warned of."""
    return _about_copies(found["photos"]) + _about_imagenet(found) + _about_faces(found["photos"])


def _about_copies(photos: Found) -> list[str]:
    said = []
    label_of = dict(zip(photos["names"], photos["labels"], strict=True))
    for a, b, exact in photos["copies"]:
        kind = "the same picture" if exact else "near copies"
        if label_of[a] != label_of[b]:
            classes = " and ".join(
                display_name(photos["class_names"][label_of[name]]) for name in (a, b)
            )
            said.append(f"{a} and {b} are {kind}, in two classes ({classes}): one must be wrong")
        else:
            said.append(f"{a} and {b} are {kind}: they were held out together")
    return said


def _about_imagenet(found: Found) -> list[str]:
    used = found["candidates"][found["chosen"]]
    said = []
    for one in found["differences"]:
        other = next(c for c in found["candidates"] if c["name"] == one["against"])
        if one["mean"] >= 0 or not other["name"].startswith(IMAGENET) or other is used:
            continue
        if used["name"].startswith(IMAGENET):  # It is in use already, by another method.
            continue
        sure = "clearly" if one["p"] < 0.05 else "perhaps by chance"
        how = ""
        if other["alpha"] == 1.0:
            how = f": to use them, --config.init_from=imagenet --config.model={other['model']}"
        points, p = 100 * -one["mean"], one["p"]
        said.append(
            "plain ImageNet weights did better on these photos than those of task 1, by"
            f" {points:.0f} points, {sure} (p = {p:.2g}){how}"
        )
    return said


def _about_faces(photos: Found) -> list[str]:
    missing = sum(face is None for face in photos["faces"])
    if photos["crop"] != "face" or not missing:
        return []
    which = "1 photo" if missing == 1 else f"{missing} photos"
    return [f"no face was found in {which}, of which the middle was used"]
