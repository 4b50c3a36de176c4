"""Times `predict` on many photos against decoding alone and the forward pass alone.

    python -m experiments.bench.bulk --checkpoint=/tmp/selfie --json=experiments/results/bulk.json

The photos are drawn JPEGs of 12 megapixels, and small ones. All work happens in this process. The
three kinds take turns, so that a slow moment of the machine slows all of them alike. Decoding uses
all cores, as in `predict`. The forward pass has its inputs ready.

An accelerator leaves the cores to decoding. Then `predict` can be as quick as the slower of both. A
CPU has the same cores for both. Then it can be as quick as one after the other.
"""

import collections
import dataclasses
import functools
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from cifsel.config import Parser, local_path, path
from cifsel.data.photos import files, search
from cifsel.prediction import Predictor, answer_photos, load
from cifsel.prediction.predictor import batch_size
from cifsel.runtime import command, terminal, threads
from cifsel.workdir import provenance

SIZES = {"12 megapixels": (4000, 3000), "small": (640, 480)}  # width and height in pixels
_DRAWN = 4  # different photos of each size, which are given again and again


@dataclasses.dataclass(frozen=True)
class Speed:
    """Photos per second with photos of one size, medians over the rounds.

    Attributes:
      photos: name of the size.
      decode: decoding and cropping in threads, alone.
      forward: the forward pass, alone.
      predict: both, as `predict` does them.
    """

    photos: str
    decode: float
    forward: float
    predict: float

    @property
    def of_slower(self) -> float:
        """The speed of `predict` as a part of the slower of decoding and the forward pass."""
        return self.predict / min(self.decode, self.forward)

    @property
    def of_both(self) -> float:
        """The speed of `predict` as a part of that of one after the other."""
        return self.predict * (1 / self.decode + 1 / self.forward)


def drawn(number: int, width: int, height: int) -> bytes:
    """A JPEG of random waves and noise, which takes about as long to decode as a photo."""
    rng = np.random.default_rng(number)
    waves = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
    pixels = np.asarray(waves.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noisy = pixels + rng.integers(-8, 9, (height, width, 1), np.int16)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def photos(folder: Path, size: str, count: int) -> list[search.Item]:
    """Photos of a size, as `predict` would find them."""
    paths = [folder / f"{size}-{number}.jpg" for number in range(_DRAWN)]
    for number, file in enumerate(paths):
        file.write_bytes(drawn(number, *SIZES[size]))
    named = [paths[number % _DRAWN] for number in range(count)]
    return [search.Item(str(file), files.File(file.name, file)) for file in named]


def crop(item: search.Item, predictor: Predictor) -> UInt8[np.ndarray, "s s 3"]:
    """Decodes a photo to the input of the model."""
    return predictor.show([item.pixels()], [item.name])[0]


def measure(predictor: Predictor, items: list[search.Item], size: str, rounds: int) -> Speed:
    """Times the three kinds in turns, after one round that is not counted."""
    prepare = functools.partial(crop, predictor=predictor)
    ahead = 2 * batch_size() + threads.cores()
    shown = np.stack([prepare(items[number % _DRAWN]) for number in range(len(items))])

    def run_forward() -> None:
        for start in range(0, len(shown), batch_size()):
            predictor.probabilities(shown[start : start + batch_size()])

    work: dict[str, Callable[[], object]] = {
        "decode": lambda: collections.deque(threads.in_order(prepare, items, ahead), maxlen=0),
        "forward": run_forward,
        "predict": lambda: list(answer_photos(items, predictor, skip=False)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(1 + rounds):
        for name, function in work.items():
            began = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - began)
    rates = {name: len(items) / statistics.median(times[1:]) for name, times in seconds.items()}
    return Speed(size, **rates)


def table(speeds: list[Speed]) -> str:
    """The table in Markdown."""
    lines = [
        "| photos | decoding, photos/s | forward | predict | of the slower | of both in turn |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for speed in speeds:
        amounts = f"{speed.decode:.1f} | {speed.forward:.1f} | {speed.predict:.1f}"
        lines.append(
            f"| {speed.photos} | {amounts} | {speed.of_slower:.2f} | {speed.of_both:.2f} |"
        )
    return "\n".join(lines)


def run(checkpoint: str, count: int, rounds: int, target: Path | None) -> None:
    """Measures all, prints the table and writes the record."""
    predictor = load(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        speeds = [
            measure(predictor, photos(Path(folder), size, count), size, rounds) for size in SIZES
        ]
    terminal.answer(table(speeds))
    if target:
        record = {
            "environment": provenance.environment().to_json(),
            "input_side": predictor.detail,
            "photos": count,
            "rounds": rounds,
            "speeds": [dataclasses.asdict(speed) for speed in speeds],
        }
        target.write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Parses the command line and measures."""
    parser = Parser("experiments.bench.bulk", __doc__)
    add = parser.add_argument
    add("--checkpoint", required=True, type=path, metavar="DIR", help="workdir of a run")
    add("--photos", type=int, default=256, metavar="N", help="of each size")
    add("--rounds", type=int, default=5, metavar="N", help="of which the medians are taken")
    add("--json", type=local_path, help="write the record there")
    flags = parser.parse_args()
    command.start()
    command.guarded(lambda: run(flags.checkpoint, flags.photos, flags.rounds, flags.json))


if __name__ == "__main__":
    main()
