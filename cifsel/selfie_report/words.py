"""What task 2 found, in sentences for the person whose photos they are."""

from collections.abc import Mapping
from typing import Any

from cifsel.rendering import percent, plain

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
    guessing = 1 / len(found["photos"]["class_names"])
    if found["permutation"] is None:
        return "that is more than guessing" if low > guessing else "guessing may do as well"
    p = found["permutation"]["p"]
    if p < 0.05:
        return f"luck alone would hardly do as well (p = {p:.2g})"
    return f"luck alone may well do as well (p = {p:.2g})"


def _more(found: Found) -> str:
    if found["more_would_help"]:
        return "more photos would probably help"
    return "nothing says that more photos would help"


def notes(found: Found) -> list[str]:
    """What a reader should be warned of."""
    photos, candidates = found["photos"], found["candidates"]
    said = []
    label_of = dict(zip(photos["names"], photos["labels"], strict=True))
    for a, b, exact in photos["copies"]:
        kind = "the same picture" if exact else "near copies"
        if label_of[a] != label_of[b]:
            classes = " and ".join(plain(photos["class_names"][label_of[name]]) for name in (a, b))
            said.append(f"{a} and {b} are {kind}, in two classes ({classes}): one must be wrong")
        else:
            said.append(f"{a} and {b} are {kind}: they were held out together")
    for difference in found["differences"]:
        other = difference["against"]
        if "ImageNet" in other and difference["mean"] < 0:
            sure = "clearly" if difference["p"] < 0.05 else "perhaps by chance"
            said.append(
                f"plain ImageNet weights did better on these photos, {sure}"
                f" (by {percent(-difference['mean'])}, p = {difference['p']:.2g}): to use them,"
                " give --config.init_from=imagenet --config.model="
                f"{candidates[found['chosen']]['model']}"
            )
    if photos["crop"] == "face" and (missing := sum(face is None for face in photos["faces"])):
        said.append(f"no face was found in {missing} photos, of which the middle was used")
    return said
