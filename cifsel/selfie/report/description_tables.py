"""Tables that describe the final model, the photos, the candidates and the software."""

from collections.abc import Sequence

from cifsel.data.photos.crops import EXPRESSION, NONE
from cifsel.reports.page import Table
from cifsel.reports.style import display_name
from cifsel.runtime.terminal import count, duration
from cifsel.selfie.outcome import Outcome
from cifsel.selfie.protocol.candidates import CandidateScores
from cifsel.selfie.protocol.photo_set import PhotoSet
from cifsel.selfie.report.score_tables import setting
from cifsel.selfie.report.sentences import LISTED, beats_guessing


def final_model_table(outcome: Outcome) -> Table:
    """Describes the model that is saved."""
    candidate, final = outcome.chosen_candidate, outcome.final
    rows = [
        ("made from", f"{candidate.name} ({candidate.source})"),
        ("learned from", f"all {count(outcome.photos.count, 'photo')}"),
        ("settings", setting(final.layers, final.grid, final.l2)),
        ("its probabilities", _calibration(final.temperature, beats_guessing(outcome))),
    ]
    return Table(("the final model", ""), tuple(rows))


def _calibration(temperature: float, beats_guessing: bool) -> str:
    if abs(temperature - 1) < 0.005:
        return "as they come"
    fitted = f"on photos that were held out (temperature {temperature:.2f})"
    if not beats_guessing:
        return f"fitted {fitted}. They mean little, as it is no better than guessing."
    if temperature > 1:
        return f"toned down, as it was too sure {fitted}"
    return f"raised, as it was too timid {fitted}"


def photo_table(photos: PhotoSet) -> Table:
    """Describes the photos that were read."""
    classes = ", ".join(f"{n} {display_name(name)}" for name, n in photos.per_class.items())
    copies = [
        f"{photos.names[i]} {'=' if exact else '≈'} {photos.names[j]}"
        for i, j, exact in photos.copies
    ]
    together = (
        "none: every photo stands for itself"
        if photos.group_count == photos.count
        else f"{photos.count} photos are {count(photos.group_count, 'group')} (copies, bursts,"
        " people), and a group is held out as a whole"
    )
    rows = [
        ("photos", f"{photos.count}: {classes}"),
        ("held together", together),
        ("copies (=) and near copies (≈)", _listed(copies)),
        ("passed over", _listed(photos.skipped)),
        ("what the model is shown", _crop(photos)),
    ]
    return Table(("the photos", ""), tuple(rows))


def _crop(photos: PhotoSet) -> str:
    if photos.crop == NONE:
        return "a square in the middle of each photo, of the size that config.crop_middle gives"
    missed = [name for name, face in zip(photos.names, photos.faces, strict=True) if face is None]
    shown = (
        "the lower part of the face, moved to the same place, grey, with contrast made even"
        if photos.crop == EXPRESSION
        else "the face, cut out with a margin"
    )
    return f"{shown}. No face was found in {_listed(missed)}." if missed else shown


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more or "none"


def candidate_table(candidates: Sequence[CandidateScores]) -> Table:
    """Says where the weights of each candidate are from."""
    rows = [(candidate.name, candidate.source) for candidate in candidates]
    return Table(("candidate", "weights from"), tuple(rows))


def provenance_table(outcome: Outcome) -> Table:
    """Describes the time, the device and the software of the run."""
    provenance = outcome.provenance
    versions = [f"{name} {version}" for name, version in provenance.versions.items() if version]
    rows = [
        ("finished", provenance.finished),
        ("device", provenance.devices.words),
        ("time", f"all {duration(outcome.seconds)}"),
        ("commit", str(provenance.git_commit)[:12]),
        ("versions", ", ".join(versions)),
    ]
    return Table(("", ""), tuple(rows))
