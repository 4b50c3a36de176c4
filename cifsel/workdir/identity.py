"""Whose a checkpoint is: the run that a folder says it holds, or another one.

Folders of checkpoints can be exchanged by hand. Results would then be told of the wrong run.
"""

from collections.abc import Mapping
from typing import Any

from etils import epath

from cifsel import config as config_lib
from cifsel.errors import UserError
from cifsel.workdir import files
from cifsel.workdir.model_meta import ClassifierMeta, SelfieMeta

_SHOWN = 12  # characters of a fingerprint


def check_folder(run: epath.Path, meta: ClassifierMeta | SelfieMeta, checkpoint: str) -> None:
    """Makes sure that a checkpoint is of the run whose config and metrics are beside it.

    A checkpoint without them is enough by itself.

    Raises:
      UserError: it is of another run.
    """
    for name, config in files.recorded_configs(run).items():
        _refuse(config_lib.differences(config, meta.config), checkpoint, str(run / name))
    if isinstance(meta, ClassifierMeta) and files.METRICS in files.recorded_configs(run):
        metrics = files.read_json(run / files.METRICS)
        fields = _different(metrics, meta, "fingerprint")
        _refuse(fields, checkpoint, str(run / files.METRICS))


def check_own(
    meta: ClassifierMeta | SelfieMeta, own: ClassifierMeta | SelfieMeta, checkpoint: str
) -> None:
    """Makes sure that a checkpoint, which a run found in its folder, is its own.

    Args:
      meta: of the checkpoint.
      own: of this run.
      checkpoint: its folder, for messages.

    Raises:
      UserError: it is of another run.
    """
    fields = config_lib.differences(meta.config, own.config)
    found, wanted = meta.to_json(), own.to_json()
    for name in ("task", "class_names", "fingerprint", "backbone"):
        fields += _different(found, own, name)
    if _tensors(found) != _tensors(wanted):
        fields.append("weights: of other tensors")
    if _digests(meta) != _digests(own):
        fields.append("photos: others")
    _refuse(fields, checkpoint, "this run")


def _digests(meta: ClassifierMeta | SelfieMeta) -> set[str]:
    """Of the photos that a classifier of task 2 has learned from."""
    return {photo.digest for photo in meta.seen} if isinstance(meta, SelfieMeta) else set()


def _tensors(meta: Mapping[str, Any]) -> str | None:
    """The hash of the weights that a classifier began with. None without any."""
    weights = meta.get("weights")
    return weights["tensors_sha256"] if weights else None


def _different(
    content: Mapping[str, Any], meta: ClassifierMeta | SelfieMeta, name: str
) -> list[str]:
    """One line if a field of some JSON is not that of `meta`."""
    wanted = meta.to_json()
    before, after = content.get(name), wanted.get(name)
    if before == after:
        return []
    return [f"{name}: {str(before)[:_SHOWN]} -> {str(after)[:_SHOWN]}"]


def _refuse(fields: list[str], checkpoint: str, owner: str) -> None:
    if fields:
        raise UserError(
            f"checkpoint {checkpoint} is of another run than {owner} ({'; '.join(fields)}): put"
            " back the checkpoint of that run, or give another --workdir"
        )
