"""Saving and restoring through orbax. The only module that imports it.

A checkpoint has up to three parts: `model`, the best variables so far, enough to predict with;
`training`, the latest state, to go on from; `meta`, JSON about both. They are written together or
not at all, so that the best and the latest never contradict each other.
"""

from typing import Any, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from cifsel import remote
from cifsel.errors import UserError

Tree = Any
FOLDER = "checkpoints"


class Checkpoints:
    """The checkpoints of a workdir; the newest one is kept."""

    def __init__(self, workdir: epath.Path) -> None:
        self._folder = workdir / FOLDER
        options = ocp.CheckpointManagerOptions(max_to_keep=1, cleanup_tmp_directories=True)
        remote.reach_as_orbax(self._folder)
        self._manager = ocp.CheckpointManager(remote.absolute(self._folder), options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    @property
    def latest(self) -> int | None:
        """Step of the newest checkpoint."""
        return self._manager.latest_step()

    def save(self, step: int, *, model: Tree, meta: dict[str, Any], training: Tree = None) -> None:
        """Writes a checkpoint and returns when it is safe.

        Waiting costs little, as saves are minutes apart, and allows the caller to donate the
        buffers of `training` to the next step. A step that is saved already stays as it is: a run
        that was stopped after its last step comes here again, with the same content.
        """
        if step == self.latest:
            return
        items = {"model": ocp.args.StandardSave(model), "meta": ocp.args.JsonSave(meta)}
        if training is not None:
            items["training"] = ocp.args.StandardSave(training)
        self._manager.save(step, args=ocp.args.Composite(**items), force=True)
        self._manager.wait_until_finished()

    def meta(self) -> dict[str, Any]:
        """The newest checkpoint's meta."""
        return self._restore("meta", ocp.args.JsonRestore())

    def model(self, template: Tree) -> Tree:
        """The newest checkpoint's best variables, as arrays like `template`'s."""
        return self._restore("model", ocp.args.StandardRestore(_abstract(template)))

    def training(self, template: Tree) -> Tree:
        """The newest checkpoint's training state, as arrays like `template`'s."""
        return self._restore("training", ocp.args.StandardRestore(_abstract(template)))

    def _restore(self, item: str, args: Any) -> Any:
        step = self.latest
        if step is None:
            raise UserError(f"no checkpoint in {self._folder}: the run has not saved one yet")
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**{item: args}))[item]
        except (ValueError, KeyError, OSError, TypeError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise UserError(
                f"checkpoint {self._folder / str(step)} cannot be restored: its part {item!r} is"
                f" missing, damaged, or of another model ({reason})"
            ) from error


def _abstract(template: Tree) -> Tree:
    def shape(x: Any) -> jax.ShapeDtypeStruct:
        sharding = x.sharding if isinstance(x, jax.Array) else None
        return jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=sharding)

    return jax.tree.map(shape, template)
