"""A restored model for Python: images in, answers out."""

from collections.abc import Iterable

from PIL import Image

from cifsel.errors import UserError, printable
from cifsel.prediction.answers import answer_photos
from cifsel.prediction.given_images import ImageLike, given_images
from cifsel.prediction.prediction import Prediction, of_answer
from cifsel.prediction.predictor import Predictor
from cifsel.runtime.terminal import count

_NAMED = 3  # images or classes that a text names


class ImagePredictor:
    """A model that answers for images, as the command `predict` does.

    Attributes:
      class_names: K names, in the order of the probabilities.
      task: 'task1', or 'selfie' for a classifier of somebody's own photos.
      sure_from: the least probability of an answer that is to be believed. None if there is none,
        and for task 1.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.class_names, self.task = predictor.class_names, predictor.task
        self.sure_from = predictor.sure_from

    def predict(self, images: ImageLike | Iterable[ImageLike]) -> list[Prediction]:
        """Answers for images. The same photo gets the probabilities that the command prints.

        Args:
          images: one image, or several. An image is a path (a file, here or on gs://), an image of
            Pillow, or an array. Arrays have shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), and
            are uint8, or floats from 0 to 1. They are taken for sRGB, upright. One array
            (N, H, W, C) is N images. Sizes may differ. Transparent pixels become white.

        Returns:
          An answer for each image, in order.

        Raises:
          UserError: an image cannot be used. The message names its place, counted from 0, and says
            what is there and what was expected.
        """
        given = given_images(images)
        answers = list(answer_photos(given, self._predictor, skip=False))
        bad = [
            f"{image.name}: {answer.problem}"
            for image, answer in zip(given, answers, strict=True)
            if answer.problem
        ]
        if bad:
            more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
            raise UserError(
                f"{len(bad)} of {count(len(given), 'image')} cannot be used"
                f" ({'; '.join(bad[:_NAMED])}{more}): leave them out"
            )
        return [of_answer(answer, self._predictor) for answer in answers]

    def explain(self, images: ImageLike | Iterable[ImageLike]) -> list[Image.Image]:
        """Draws what each answer is based on (Grad-CAM).

        Args:
          images: as for `predict`.

        Returns:
          A square picture for each image: what speaks for the answer is in full colour, and the
          rest is dimmed.

        Raises:
          UserError: an image cannot be used.
        """
        pictures = []
        for image in given_images(images):
            shown = self._predictor.show([image.pixels()], [image.name])
            classes = self._predictor.probabilities(shown).argmax(1)
            pictures.append(Image.fromarray(self._predictor.explain(shown, classes)[0]))
        return pictures

    def __repr__(self) -> str:
        names = ", ".join(printable(name) for name in self.class_names[:_NAMED])
        dots = ", ..." if len(self.class_names) > _NAMED else ""
        return f"ImagePredictor({count(len(self.class_names), 'class', 'classes')}: {names}{dots})"
