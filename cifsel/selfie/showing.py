"""Shows the outcome of task 2: the report, the table on the terminal, and both once more."""

from typing import Any

from etils import epath
from ml_collections import ConfigDict

from cifsel import config as config_lib
from cifsel import workdir
from cifsel.errors import UserError
from cifsel.prediction import predictor, seen
from cifsel.runtime.bars import show_table, working
from cifsel.runtime.terminal import duration, say
from cifsel.selfie.outcome import Outcome
from cifsel.selfie.photos import Images, cropper_of, read_photos
from cifsel.selfie.reading import outcome_from_json
from cifsel.selfie.report import cautions, page, sentences
from cifsel.workdir import summaries
from cifsel.workdir.summaries import Writer


def write_report(
    config: ConfigDict,
    target: epath.Path,
    outcome: Outcome,
    images: Images | None,
    writer: Writer,
) -> None:
    """Writes the report, with `images` only if the config allows it."""
    pictures = None
    if config.save_photos and images is not None:
        say(f"save_photos: pictures of the photos are written to {target}")
        final_model = predictor.load(str(target))
        answers = final_model.probabilities(images).argmax(1)
        pictures = page.Pictures(images, final_model.heat(images, answers), answers)
    with working("drawing the report"):
        page.write_report(target, outcome, pictures, writer)


def show_outcome(target: epath.Path, outcome: Outcome) -> None:
    """Shows the outcome on the terminal."""
    say(sentences.summary(outcome))
    for warning in cautions.warnings(outcome):
        say(warning)
    final = outcome.final
    show_table(
        "task 2",
        {
            "model": outcome.chosen_candidate.name,
            "features": sentences.place(final.layers, final.grid),
            "sure from": (
                f"{final.sure.least:.0%}" if final.sure else "never: no confidence was reliable"
            ),
            "report": str(target / "report.html"),
            "predict": f"python -m cifsel.predict --checkpoint={target} photo.jpg",
            "time": duration(outcome.seconds),
        },
    )


def show_again(config: ConfigDict, target: epath.Path, writer: Writer) -> dict[str, Any]:
    """Shows a finished run. Makes its report anew if the config asks for another one.

    Args:
      config: agrees with that of the run in everything that changes its results.
      target: the workdir.
      writer: of summaries.

    Returns:
      The content of metrics.json.

    Raises:
      UserError: metrics.json is of another version, or the report cannot be made again.
    """
    say(f"{target} is finished already; its report is {target / 'report.html'}")
    content, settings = workdir.read_json(target / workdir.METRICS), config_lib.to_json(config)
    outcome = outcome_from_json(content, str(target / workdir.METRICS))
    recorded = workdir.recorded_configs(target)
    recorded_settings = recorded.get(workdir.CONFIG, recorded[workdir.METRICS])
    if config_lib.shown_differently(recorded_settings, settings):
        workdir.make(target, "workdir")
        say("the report is made again, as the config asks for another one")
        _remove_report(target)
        images = _images_again(config, target, outcome) if config.save_photos else None
        write_report(config, target, outcome, images, writer)
        workdir.write_json(target / workdir.CONFIG, settings)
    show_outcome(target, outcome)
    return content


def _remove_report(target: epath.Path) -> None:
    """Deletes what may hold photos: the gallery, and the summaries, which would be there twice."""
    summaries.remove(target)
    (target / "figures" / "photos.png").unlink(missing_ok=True)


def _images_again(config: ConfigDict, target: epath.Path, outcome: Outcome) -> Images:
    """Reads the photos of a finished run, as its model is shown them.

    Raises:
      UserError: they are not those that the run saw.
    """
    decoded = read_photos(config.photos, skip_unreadable=config.skip_unreadable)
    final_model = predictor.load(str(target))
    digests = {photo.digest for photo in final_model.seen}
    changed = [
        name
        for name, image in zip(decoded.names, decoded.images, strict=True)
        if digests and seen.digest(image) not in digests
    ]
    if decoded.names != outcome.photos.names or changed:
        first = f", such as {changed[0]}" if changed else ""
        raise UserError(
            f"config.photos is {config.photos!r}, whose photos are not those of the run in"
            f" {target}{first}: give the same photos, or another --workdir"
        )
    cropper = cropper_of(config)
    return cropper.show(decoded.images, decoded.names, final_model.size).images
