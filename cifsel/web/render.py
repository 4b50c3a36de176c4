"""The HTML of the page's parts. All texts of visitors are escaped.

`gr.HTML` runs its template as JavaScript, so that only its plain template with one value is used.
"""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup
from PIL import Image

from cifsel.errors import printable
from cifsel.runtime.terminal import count, duration
from cifsel.web.answering import Answer
from cifsel.web.looks import Looks
from cifsel.web.projects import Project
from cifsel.web.training import ADVISED_PHOTOS, LEAST_PHOTOS, Trainer, Training

_MOST_BARS = 6  # classes in an answer
_SAME = "The classifier has learned from this very photo, so it knows the right answer."
_COPY = "The classifier has learned from a photo much like this one."


def board(project: Project, looks: Looks, said: str = "", problem: str = "") -> str:
    """The classes of a project with their photos.

    Args:
      project: of the visitor.
      looks: of photos.
      said: about the last photos.
      problem: with the last request.
    """
    groups = looks.groups(project)
    sizes = Counter(groups.values())
    names = project.class_names()
    cards = [_card(project, name, groups, sizes, removable=len(names) > 2) for name in names]
    return Markup(
        '<p class="said{}" role="status">{}</p><div class="cards">{}</div>'
        '<div class="more"><button data-do="more">Add a class</button>'
        '<label class="button">Upload a folder<input type="file" data-kind="folder" multiple'
        ' webkitdirectory></label><label class="button">Upload a zip<input type="file"'
        ' data-kind="zip" accept=".zip"></label><span>with a folder for each class</span></div>'
    ).format(
        " problem" if problem else "",
        printable(problem or said),
        Markup("").join(cards),
    )


def _card(
    project: Project,
    name: str,
    groups: dict[str, int],
    sizes: Counter[int],
    *,
    removable: bool,
) -> Markup:
    photos = project.photos_of(name)
    remove = Markup(
        '<button class="quiet" data-do="drop" aria-label="Remove this class">Remove</button>'
    )
    figures = [_figure(project, photo, groups, sizes) for photo in reversed(photos)]
    return Markup(
        '<section class="card" data-class="{}"><header><input class="name" value="{}"'
        ' maxlength="60" aria-label="Name of the class" spellcheck="false">{}</header>'
        '<div class="take"><button class="primary" data-do="shoot">Take a photo</button>'
        '<button data-do="series" title="One every 2 seconds">Take {}</button>'
        '<label class="button">Upload<input type="file" data-kind="photos" multiple'
        ' accept="image/*,.heic,.heif,.avif,.zip"></label></div>'
        '<p class="count">{}</p><div class="photos">{}</div></section>'
    ).format(
        name,
        name,
        remove if removable else "",
        ADVISED_PHOTOS,
        _count(photos, groups),
        Markup("").join(figures),
    )


def _count(photos: Sequence[Path], groups: dict[str, int]) -> Markup:
    """How many photos a class has, and how many are advised."""
    different = len({groups[photo.name] for photo in photos if photo.name in groups})
    words = f"{count(len(photos), 'photo')}"
    if different < len(photos):
        words += f", which count as {different}"
    if different < LEAST_PHOTOS:
        advice = f"{LEAST_PHOTOS} are the least, {ADVISED_PHOTOS} or more are better"
    elif different < ADVISED_PHOTOS:
        advice = f"{ADVISED_PHOTOS} or more are better"
    else:
        advice = "enough to begin with. More make the report surer."
    return Markup('<b data-count="{}">{}</b>: <span>{}</span>').format(len(photos), words, advice)


def _figure(project: Project, photo: Path, groups: dict[str, int], sizes: Counter[int]) -> Markup:
    alike = sizes[groups.get(photo.name, -1)]
    mark = ""
    if alike > 1:
        mark = Markup(
            '<figcaption title="These {} photos are much alike, or of the same moment. They count'
            ' as one: all are held out together.">1 of {} alike</figcaption>'
        ).format(alike, alike)
    return Markup(
        '<figure data-photo="{}"><img src="photo/{}/{}" alt="" width="72" height="72"'
        ' loading="lazy">{}<button data-do="erase" aria-label="Delete this photo">×</button>'
        "</figure>"
    ).format(photo.name, project.name, photo.name, mark)


def again(project: Project) -> str:
    """A link to the last project of a browser."""
    photos = count(len(project.all_photos()), "photo")
    return Markup('<a class="button" href="?project={}">Go on with your last {}</a>').format(
        project.name, photos
    )


def training(
    project: Project,
    trainer: Trainer,
    current: Training | None,
    *,
    lack: str,
    note: str,
    is_new: bool,
) -> str:
    """How far a training is, or what it needs.

    Args:
      project: of the visitor.
      trainer: that trains it.
      current: its last training. None for none.
      lack: what a training lacks.
      note: about the photos of the last run.
      is_new: the photos are not those of the last run.
    """
    if current and current.state == "waiting":
        before = trainer.before(current)
        words = f"Waiting for {count(before, 'training')} of others" if before else "Starting"
        return _step(0.0, words, "")
    if current and current.state == "running":
        share, seconds = trainer.progress(current)
        left = f"about {duration(seconds)} left" if seconds > 5 else "nearly done"
        return _step(share, current.said or "Starting", left)
    parts = []
    if current and current.state == "failed":
        parts.append(
            Markup('<p class="said problem" role="alert">The training failed: {}</p>').format(
                printable(current.error)
            )
        )
    if current and current.state == "stopped":
        parts.append(Markup('<p class="said">The training was stopped.</p>'))
    if lack:
        parts.append(Markup('<p class="said">{}.</p>').format(lack))
    else:
        counts = [f"{len(project.photos_of(c))} {printable(c)}" for c in project.class_names()]
        photos, start = " and ".join(counts), trainer.start.words
        words = f"Ready: {photos} photos. Training starts from {start}. Each photo will be judged"
        words += " by a classifier that has not seen it."
        if not is_new:
            words = f"The classifier below was trained on {photos} photos."
        parts.append(Markup("<p>{}</p>").format(words))
    if note:
        parts.append(Markup('<p class="said">{}</p>').format(note))
    return Markup("").join(parts)


def _step(share: float, doing: str, left: str) -> str:
    return Markup(
        '<div class="progress"><progress max="100" value="{}" aria-label="Progress of'
        ' the training"></progress><p><b>{}</b> <span>{}</span></p><p class="hint">You may close'
        " the page. The training goes on, and the link in the address bar leads back.</p></div>"
    ).format(round(100 * share), printable(doing), left)


def report(project: Project, run: Path, sentence: str, notes: Sequence[str]) -> str:
    """The verdict of a run, and its report."""
    address = f"report/{project.name}/{run.name}"
    first, _, rest = printable(sentence).partition(". ")
    folded: Markup | str = ""
    if notes:
        items = Markup("").join(Markup("<li>{}</li>").format(printable(note)) for note in notes)
        folded = Markup('<details class="notes"><summary>{}</summary><ul>{}</ul></details>').format(
            count(len(notes), "note"), items
        )
    return Markup(
        '<p class="verdict">{}.</p><p class="found">{}</p>{}<div class="more"><a class="button"'
        ' href="{}?download" download>Download the report</a><a class="button" href="{}"'
        ' target="_blank" rel="noopener">Open it in a tab</a></div><iframe class="report"'
        ' title="Report" src="{}" sandbox loading="lazy"></iframe>'
    ).format(first.removesuffix("."), rest, folded, address, address, address)


def answer(given: Answer, source: str) -> str:
    """The answer for a photo.

    Args:
      given: the answer.
      source: which classifier has answered.
    """
    made = given.prediction
    ranked = sorted(made.probabilities.items(), key=lambda pair: -pair[1])[:_MOST_BARS]
    bars = [
        Markup(
            '<li><span>{}</span><span class="bar"><i style="width:{}%"></i></span><b>{}</b></li>'
        ).format(printable(name), round(100 * share, 1), percent(share))
        for name, share in ranked
    ]
    notes = []
    if made.unsure:
        notes.append("Held-out photos gave no reason to believe an answer with this probability.")
    if made.held_out:
        seen = _SAME if made.seen_as == "same" else _COPY
        notes.append(f"{seen} Models that had not seen it said: {made.held_out.words}.")
    if made.unlike:
        notes.append("This photo is unlike those of training, so do not trust the answer.")
    if made.classes is not None:
        notes.append(f"Set of classes: {' or '.join(map(printable, made.classes))}.")
    if given.sets:
        notes.append(given.sets)
    picture: Markup | str = ""
    if given.picture is not None:
        picture = Markup(
            '<figure class="evidence"><img src="{}" alt="The photo, coloured where it speaks for'
            ' the answer"><figcaption>In colour: what speaks for {}</figcaption></figure>'
        ).format(_data(given.picture), printable(made.label))
    title = "unsure" if made.unsure else printable(made.label)
    return Markup(
        '<div class="answer{}" data-label="{}"><p class="label">{}</p><ul>{}</ul>{}{}'
        '<p class="hint">{}</p></div>'
    ).format(
        " unsure" if made.unsure else "",
        printable(made.label),
        title,
        Markup("").join(bars),
        Markup("").join(Markup('<p class="note">{}</p>').format(note) for note in notes),
        picture,
        source,
    )


def percent(share: float) -> str:
    """'93 %'. Rounding makes nothing certain."""
    return f"{min(max(round(100 * share), 1), 99)} %"


def problem(text: str) -> str:
    """Markup of an error message."""
    return Markup('<p class="said problem" role="alert">{}</p>').format(printable(text))


def hint(text: str) -> str:
    """Markup of advice to the visitor."""
    return Markup('<p class="hint">{}</p>').format(text)


def exported(address: str, name: str, lines: Sequence[str], usage: str) -> str:
    """The files of an export.

    Args:
      address: of their folder.
      name: of the file.
      lines: what the command said.
      usage: the page that says how to use the file.
    """
    links = [
        Markup('<a class="button" href="{}/{}" download>{}</a>').format(address, file, words)
        for file, words in (
            (name, f"Download {name}"),
            (f"{name}.md", "How to use it"),
            (f"{name}.json", "Classes and facts"),
        )
    ]
    return Markup(
        '<p class="verdict">The file was read back, and answers as this page does.</p><ul'
        ' class="lines">{}</ul><div class="more">{}</div><pre>{}</pre>'
    ).format(
        Markup("").join(Markup("<li>{}</li>").format(printable(line)) for line in lines),
        Markup("").join(links),
        usage,
    )


def _data(pixels: UInt8[np.ndarray, "s s 3"]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
