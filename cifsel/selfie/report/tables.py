"""The tables and sentences of task 2's report, for people who need not know statistics.

All of them take `found`, what metrics.json holds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cifsel.reports.page import Table
from cifsel.reports.style import display_name, percent
from cifsel.terminal import duration

# How many of a kind are shown: of names in a sentence, of wrong answers, of settings.
LISTED, MISTAKES, SETTINGS = 5, 15, 3
Found = Mapping[str, Any]
Score = Mapping[str, Any]


def chosen(found: Found) -> Mapping[str, Any]:
    """The candidate that the final model comes from."""
    return found["candidates"][found["chosen"]]


def score(candidate: Mapping[str, Any]) -> Score:
    """What is shown photo by photo: leave-one-out, or k-fold where that was left out."""
    return candidate["leave_one_out"] or candidate["kfold"]


def guessing(found: Found) -> float:
    """The accuracy of naming the most frequent class every time."""
    return max(found["photos"]["per_class"].values()) / found["photos"]["count"]


def title(found: Found) -> str:
    """The heading of the report."""
    names = [display_name(name) for name in found["photos"]["class_names"]]
    told = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) <= LISTED else "the classes"
    return f"How well are {told} told apart?"


def scores(found: Found) -> list[tuple[str, Table]]:
    """Every candidate's scores, a table with its heading for each protocol."""
    most = max(one["kfold"]["repeats"] for one in found["candidates"])
    headings = {
        "leave_one_out": "Every photo put aside once (leave-one-out)",
        "kfold": f"A part of the photos put aside at a time, {_times(most)} over (repeated k-fold)",
    }
    tables = []
    for protocol, heading in headings.items():
        rows = [
            _scores_row(_row_name(found, place, protocol, most), one[protocol])
            for place, one in enumerate(found["candidates"])
            if one[protocol]
        ]
        if rows:
            head = ("", "right", "95 % interval", "balanced accuracy", "AUC", "log loss")
            tables.append((heading, Table(head, (*rows, _guessing_row(found)))))
    return tables


def _row_name(found: Found, place: int, protocol: str, most: int) -> str:
    one = found["candidates"][place]
    notes = ["chosen"] if place == found["chosen"] else []
    if protocol == "kfold" and one["kfold"]["repeats"] != most:
        notes.append(f"{_times(one['kfold']['repeats'])} only")
    return f"{one['name']} ({', '.join(notes)})" if notes else one["name"]


def _scores_row(name: str, score: Score) -> tuple[str, ...]:
    low, high = score["accuracy_interval"]
    return (
        name,
        f"{_number(score['right'])} of {score['examples']} ({percent(score['accuracy'])})",
        f"{percent(low)} to {percent(high)}",
        percent(score["balanced_accuracy"]),
        "not defined" if score["auc"] is None else f"{score['auc']:.2f}",
        f"{score['log_loss']:.2f}",
    )


def _guessing_row(found: Found) -> tuple[str, ...]:
    """What a model achieves that sees nothing, and knows how frequent each class is."""
    shares = np.array(list(found["photos"]["per_class"].values())) / found["photos"]["count"]
    most = max(found["photos"]["per_class"].values())
    return (
        "guessing, for comparison",
        f"{most} of {found['photos']['count']} ({percent(guessing(found))})",
        "",
        percent(1 / len(shares)),
        "0.50",
        f"{-(shares * np.log(np.maximum(shares, 1e-12))).sum():.2f}",
    )


def differences(found: Found) -> Table | None:
    """Pairs of candidates on the same photos; None where there is nothing to compare."""
    rows = []
    for one in found["differences"]:
        if one["low"] <= 0 <= one["high"]:
            verdict = "may be chance"
        else:
            better = one["name"] if one["low"] > 0 else one["against"]
            verdict = f"{better} is better"
        rows.append(
            (
                f"{one['name']} against {one['against']}",
                f"{100 * one['mean']:+.1f}",
                f"{100 * one['low']:+.1f} to {100 * one['high']:+.1f}",
                f"{one['p']:.2g}",
                verdict,
            )
        )
    head = ("", "difference, points", "95 % interval", "p", "in words")
    return Table(head, tuple(rows)) if rows else None


def mistakes(found: Found) -> tuple[str, Table | None]:
    """A heading, and what the chosen candidate gets wrong, the worst first; None: nothing."""
    probabilities = np.asarray(score(chosen(found))["probabilities"])
    photos, said = found["photos"], probabilities.argmax(1)
    classes = [display_name(name) for name in photos["class_names"]]
    rows = [
        (
            photos["names"][index],
            classes[photos["labels"][index]],
            f"{classes[said[index]]} ({percent(probabilities[index].max())})",
        )
        for index in worst_first(probabilities, photos["labels"])
        if said[index] != photos["labels"][index]
    ]
    if not rows:
        return "It got nothing wrong", None
    some = f": the worst {MISTAKES} of {len(rows)}" if len(rows) > MISTAKES else ""
    table = Table(("photo", "it is", "the model said"), tuple(rows[:MISTAKES]))
    return f"What it got wrong{some}", table


def worst_first(probabilities: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """(N,) positions of photos, by the probability that their true class was given."""
    return np.argsort(probabilities[np.arange(len(labels)), labels], kind="stable")


def tested(found: Found) -> str:
    """The candidate that labels were shuffled for, and the learning curve drawn: the first."""
    return str(found["candidates"][0]["name"])


def luck(found: Found) -> str:
    """What shuffled labels say of whether the accuracy is luck, and of leaks."""
    test = found["permutation"]
    low, high = test["interval"]
    shuffled = (
        f"The labels of the photos were shuffled {_times(len(test['accuracies']))}, and the model"
        f" ({tested(found)}) was made and asked anew. It was then right on"
        f" {percent(test['mean'])} of the photos of a class on average ({percent(low)} to"
        f" {percent(high)})"
    )
    # Twice as far as the interval, which misses one time in forty with nothing wrong.
    expected = (
        ", which is more than guessing achieves: something is wrong, do not trust this report."
        if test["mean"] - 2 * (test["mean"] - low) > 1 / len(found["photos"]["class_names"])
        else ", not clearly more than guessing achieves, as it must be."
    )
    verdict = "hardly luck" if test["p"] < 0.01 else "probably not luck"
    if test["p"] >= 0.05:
        verdict = "possibly no more than luck"
    return (
        f"{shuffled}{expected} With the true labels it is {percent(test['observed'])}; shuffled"
        f" ones reach that with a probability of p = {test['p']:.2g}: {verdict}."
    )


def more_photos(found: Found) -> str:
    """What the learning curve says, in words."""
    first, last = found["learning_curve"][0], found["learning_curve"][-1]
    return (
        f"{tested(found)}: learning from {first['photos']:.0f} photos it was right on"
        f" {percent(first['accuracy'])}, from {last['photos']:.0f} on {percent(last['accuracy'])}."
        " A line that still rises at its right end says that more photos would help."
    )


def unsure(found: Found) -> str:
    """When the final model does not commit itself."""
    least = found["final"]["sure_from"]
    if least is None:
        return (
            "It will answer “unsure” to every photo, with the probability beside it: of the photos"
            " that were put aside, too many were wrong however sure the model was."
        )
    return (
        f"It answers “unsure” where its highest probability is below {percent(least)}. Above that,"
        " it was right often enough about photos that were put aside."
    )


def choices(found: Found) -> Table:
    """The settings that the folds chose most often, of each candidate."""
    rows = [
        (one["name"], _setting(choice), percent(choice["share"]))
        for one in found["candidates"]
        for choice in sorted(one["choices"], key=lambda choice: -choice["share"])[:SETTINGS]
    ]
    return Table(("candidate", "setting", "share of the folds"), tuple(rows))


def _setting(choice: Mapping[str, Any]) -> str:
    words = {"grid": "grid {0} × {0}", "layer": "{}", "l2": "L2 {:.2g}", "epochs": "{} epochs"}
    said = [words.get(key, key + " {}").format(value) for key, value in choice.items()
            if key != "share" and value is not None]  # fmt: skip
    return ", ".join(said)


def final(found: Found) -> Table:
    """The model that is saved."""
    settings = {k: v for k, v in found["final"].items() if k in ("layer", "grid", "l2", "epochs")}
    one = chosen(found)
    rows = [
        ("made from", f"{one['name']} ({one['source']})"),
        ("learned from", f"all {found['photos']['count']} photos"),
        ("settings", _setting(settings)),
        ("its probabilities", _calibration(found["final"]["temperature"])),
    ]
    return Table(("the final model", ""), tuple(rows))


def _calibration(temperature: float) -> str:
    if abs(temperature - 1) < 0.005:
        return "as they come"
    how = "toned down: it was too sure" if temperature > 1 else "raised: it was too timid"
    return f"{how} about photos that were put aside (temperature {temperature:.2f})"


def photos(found: Found) -> Table:
    """What was read."""
    about = found["photos"]
    classes = ", ".join(f"{n} {display_name(name)}" for name, n in about["per_class"].items())
    copies = [f"{a} = {b}" if exact else f"{a} ≈ {b}" for a, b, exact in about["copies"]]
    together = (
        "none: every photo stands for itself"
        if about["group_count"] == about["count"]
        else f"{about['count']} photos are {about['group_count']} groups (copies, bursts, people);"
        " a group is put aside as a whole"
    )
    rows = [
        ("photos", f"{about['count']}: {classes}"),
        ("held together", together),
        ("copies (=) and near copies (≈)", _some(copies)),
        ("passed over", _some(about["skipped"])),
        ("what the model is shown", _crop(about)),
    ]
    return Table(("the photos", ""), tuple(rows))


def _crop(about: Mapping[str, Any]) -> str:
    if about["crop"] == "none":
        return "the largest square in the middle of each photo"
    missed = [n for n, face in zip(about["names"], about["faces"], strict=True) if face is None]
    shown = "the face, cut out with a margin"
    return f"{shown}; no face was found in {_some(missed)}" if missed else shown


def candidates(found: Found) -> Table:
    """What was compared, and what the words mean."""
    methods = {
        "probe": "the network stays as it is; how to weigh what it sees is learned",
        "finetune": "the last blocks of the network learn as well",
    }
    rows = [
        (one["name"], one["source"], methods.get(one["method"], one["method"]))
        for one in found["candidates"]
    ]
    return Table(("candidate", "weights from", "method"), tuple(rows))


def versions(found: Found) -> Table:
    """When, where and with what."""
    device = found["devices"]
    took = ", ".join(f"{name} {duration(seconds)}" for name, seconds in found["seconds"].items())
    rows = [
        ("finished", str(found["finished"])),
        ("device", f"{device.get('count')} x {device.get('kind')}"),
        ("time", took),
        ("commit", str(found["git_commit"])[:12]),
        ("versions", ", ".join(f"{name} {v}" for name, v in found["versions"].items() if v)),
    ]
    return Table(("", ""), tuple(rows))


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
    return ", ".join(texts[:LISTED]) + more or "none"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
