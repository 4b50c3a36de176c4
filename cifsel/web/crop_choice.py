"""Which part of the photos the network sees, as visitors choose it for a training."""

import importlib.util
import re

NONE = "none"
# By the name of the crop. docs/selfies.md has how well each does.
WORDS = {
    NONE: "the middle of the photo",
    "face": "the face",
    "expression": "the lower face, for happy and sad",
}
# The package that finds faces for it.
_NEEDS = {"face": "cv2", "expression": "mtcnn"}
_FALLBACK = re.compile(", or give --config.crop_fallback=True.*")
_BETTER = re.compile(r"crop=(\w+) did better (.*): to use it, --config\.crop=\w+")


def offered() -> list[str]:
    """The crops for which everything is installed."""
    return [crop for crop in WORDS if crop == NONE or importlib.util.find_spec(_NEEDS[crop])]


def for_page(message: str) -> str:
    """A message of task 2, whose advice names flags, for somebody who has a page alone."""
    if match := _BETTER.fullmatch(message):
        crop, how_much = match.groups()
        part = WORDS[crop].split(",")[0]
        return f"To see {part} alone did better {how_much}: choose it above, and train again"
    return _FALLBACK.sub("", message)
