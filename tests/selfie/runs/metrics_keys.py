"""The keys of task 2's metrics.json, in order, by the path to each object.

`[]` stands for every element of a list. The values of 'per_class', 'config' and 'versions' are
keyed by what was given, not by this list.
"""

SCORES = (
    "examples repeats right accuracy accuracy_interval balanced_accuracy auc log_loss confusion"
    " probabilities"
)
CANDIDATE = "name source model alpha crop kfold leave_one_out choices"
KEYS = {
    "": (
        "name recipe task photos candidates differences permutation learning_curve"
        " more_would_help sentence notes seconds config versions devices command git_commit"
        " finished final sets"
    ),
    "photos": (
        "count class_names per_class names labels groups group_count taken skipped copies crop"
        " faces asked"
    ),
    "candidates[]": CANDIDATE,
    "candidates[].kfold": SCORES,
    "candidates[].leave_one_out": SCORES,
    "candidates[].choices[]": "layers grid l2 share",
    "differences[]": "name against mean low high p",
    "sets[]": "wanted threshold calibrated_on likely_coverage single",
    "permutation": "p accuracies observed mean interval",
    "learning_curve[]": "photos accuracy low high",
    "seconds": "all",
    "devices": "backend kind count processor cores",
    "final": "layers grid l2 temperature sure unlike_from",
    "final.sure": "least share right",
}
BY_NAME = {"photos.per_class", "config", "versions"}


def objects(content, path=""):
    """Yields the path and the keys of every object in JSON content, in the order of the file."""
    if isinstance(content, dict):
        yield path, " ".join(content)
        for key, value in content.items():
            below = f"{path}.{key}" if path else key
            if below not in BY_NAME:
                yield from objects(value, below)
    elif isinstance(content, list):
        for value in content:
            yield from objects(value, f"{path}[]")
