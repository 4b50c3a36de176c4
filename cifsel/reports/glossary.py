"""Explanations of terms, shown where a term comes up in a report, and listed at its end."""

import re

from markupsafe import Markup, escape

from cifsel.reports import escaping

TERMS = {
    "95 % interval": "The range in which the true value probably lies. Of 100 such ranges, about 95"
    " hold it.",
    "AUC": "Given a photo of each of two classes, how often the model can tell which is which. 0.5"
    " is guessing, 1 is always.",
    "balanced accuracy": "The share of right answers within each class, averaged over the classes."
    " A class with more photos does not count for more.",
    "calibration error": "How far confidence and the share of right answers lie apart, on average"
    " (expected calibration error, 15 bins).",
    "coarse label": "A group of related classes, such as fish.",
    "fine-tuned": "The weights of the network were trained further on these images.",
    "GFLOPs": "Billions of floating-point operations.",
    "Grad-CAM": "A map of the regions of an image that an answer is based on (Selvaraju et al.,"
    " 2017).",
    "held out": "Not used to train the model that answers, nor to choose its settings.",
    "k-fold": "The photos are divided into k parts. Each part is held out once.",
    "L2": "The penalty on large weights of a linear classifier. A larger one makes it simpler.",
    "leave-one-out": "Each photo, or group of photos that belong together, is held out once.",
    "log loss": "Minus the logarithm of the probability that the true class was given. It is high"
    " for being sure and wrong. Lower is better.",
    "macro F1": "The mean over the classes of F1, which combines precision and recall.",
    "nats": "The unit of a loss with natural logarithms. A model that finds K classes equally"
    " likely has a loss of ln K nats.",
    "points": "Percentage points. One point is one image in a hundred.",
    "probe": "A linear classifier on the features of a network that stays as it is.",
    "seed": "The number that all random choices of a run come from.",
    "spread": "The standard deviation between seeds.",
    "temperature": "The number that logits are divided by before they become probabilities. Above"
    " 1, probabilities move towards equal ones.",
    "top-5": "The share of images whose class is among the five most probable ones.",
    "p": "The probability of a difference at least this large between equally good models.",
}
_PATTERN = re.compile(
    r"(?<![\w-])("
    + "|".join(re.escape(escaping.shown(term)) for term in sorted(TERMS, key=len, reverse=True))
    + r")(?![\w-])"
)


class Glossary:
    """Marks the terms of one page where they come up first, and remembers them."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def explain(self, text: str) -> Markup:
        """Turns a text into HTML that explains its terms when they are pointed at."""
        text = escaping.shown(text)
        parts, end = [], 0
        for found in _PATTERN.finditer(text):
            term = found[0].replace("\u00a0", " ")
            if term in self._used:
                continue
            self._used.add(term)
            meaning = Markup('<abbr title="{}">{}</abbr>').format(TERMS[term], found[0])
            parts += [escape(text[end : found.start()]), meaning]
            end = found.end()
        return Markup("").join([*parts, escape(text[end:])])

    @property
    def used(self) -> list[tuple[str, str]]:
        """The terms that came up, with their meanings, by alphabet."""
        return [(term, TERMS[term]) for term in sorted(self._used, key=str.lower)]
