"""Answers for many photos with a progress bar."""

import contextlib
from collections.abc import Iterator, Sequence

from cifsel.prediction.answers import Answer, Source, answer_photos
from cifsel.prediction.predictor import Predictor
from cifsel.runtime import bars
from cifsel.runtime.console import console

_FEW = 20  # photos that are done before a bar could be read


@contextlib.contextmanager
def answering(
    items: Sequence[Source], predictor: Predictor, *, skip: bool, explain: str
) -> Iterator[Iterator[Answer]]:
    """Gives `answer_photos` to the block. On a terminal, a bar shows the time left.

    Leaving the block ends the work on photos that were not asked for.
    """
    answers = answer_photos(items, predictor, skip=skip, explain=explain)
    label = "photos" if console.is_terminal and len(items) > _FEW else None
    with contextlib.closing(answers), bars.image_bar(label, transient=True) as bar:
        task = bar.add_task("photos", total=len(items))

        def counted() -> Iterator[Answer]:
            for answer in answers:
                bar.advance(task)
                yield answer

        yield counted()
