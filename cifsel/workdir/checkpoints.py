"""Checkpoints of a run, saved and restored by orbax. No other module imports orbax.

A checkpoint has up to three parts. `model` has the best variables so far, which are enough to
predict. `training` has the latest state of training, to continue from. `meta` is JSON about both.
The parts are written together or not at all, so that they always agree.

A checkpoint may come from somebody else. Its files are compared with their checksums before they
are read, which finds damage but no forgery. Nothing in it is unpickled or executed.
"""

import contextlib
import copy
import errno
import itertools
import os
import shutil
from collections.abc import Iterator
from typing import Any, Self

import jax
from etils import epath

from cifsel import workdir
from cifsel.errors import UserError, one_line
from cifsel.runtime import remote, sharding
from cifsel.runtime.paths import is_file, is_folder
from cifsel.runtime.terminal import say
from cifsel.workdir import checksums, orbax_errors

Tree = Any
FOLDER = "checkpoints"
# The run continues from the second newest when the newest is damaged.
KEPT = 2


def _orbax() -> Any:
    """orbax.checkpoint, which takes a third of a second to import. Model files do without."""
    import orbax.checkpoint

    return orbax.checkpoint


class Checkpoints:
    """The checkpoints of a workdir. The two newest are kept while the run goes on.

    Opening them for writing deletes a half-written checkpoint of a process that died. It also
    renames a damaged newest checkpoint, so that the one before is used. Opening them for reading
    changes nothing, so that it is safe while the run goes on.

    Args:
      workdir: of the run, local or gs://.
      read_only: open for reading.

    Raises:
      UserError: all checkpoints are damaged.
    """

    def __init__(self, workdir: epath.Path, *, read_only: bool = False) -> None:
        self._folder, self._read_only = workdir / FOLDER, read_only
        self._writing: int | None = None
        if read_only:
            options = _orbax().CheckpointManagerOptions(create=False)
        else:
            options = _orbax().CheckpointManagerOptions(
                max_to_keep=KEPT,
                cleanup_tmp_directories=True,
                async_options=_orbax().AsyncOptions(post_finalization_callback=self._seal),
            )
        remote.reach_as_orbax(self._folder)
        try:
            self._check_files()
            self._manager = _orbax().CheckpointManager(
                remote.absolute(self._folder), options=options
            )
            if not read_only:
                self._set_damaged_aside()
        except OSError as error:
            raise UserError(
                f"{self._folder} cannot be used ({error.strerror or one_line(error)}): repair the"
                " disk or the permissions, or put back a copy of the folder"
            ) from error

    def _check_files(self) -> None:
        """Keeps pipes, devices and broken links from orbax, which would wait for them or fail.

        orbax opens files of all checkpoints, also of older ones.

        Raises:
          OSError: the folder cannot be listed.
          UserError: a checkpoint is such a thing, or has one in it, and this was opened for
            reading. Opened for writing, it is renamed.
        """
        # The first process decides for all. Others may see a folder that it has just made.
        if not sharding.on_main(self._has_local_folder):
            return
        if sharding.is_main():
            strays = {path.name: path for path in self._folder.iterdir() if not _is_aside(path)}
            for name, path in strays.items():
                is_step = name.isdecimal()
                reason = "" if is_file(path) and not is_step else checksums.irregular(path)
                if not reason:
                    continue
                if self._read_only:
                    raise UserError(
                        f"checkpoint {path} is damaged ({reason}): put back a copy of it, or train"
                        " again in another --workdir"
                    )
                aside = self._free_name(f"damaged-{name}")
                path.rename(aside)
                say(f"{path} is no checkpoint ({reason}): it is called {aside.name} now")
        sharding.largest(0)  # All processes wait here until the first has renamed them.

    def _has_local_folder(self) -> bool:
        return not remote.is_remote(self._folder) and is_folder(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.wait()
        except BaseException as error:
            with contextlib.suppress(Exception):  # A second failure to write says no more.
                self._manager.close()
            if kind is None or not isinstance(error, UserError):
                raise  # Otherwise the exception of the block says more.
        else:
            self._manager.close()

    @property
    def latest(self) -> int | None:
        """Step of the newest checkpoint."""
        return self._manager.latest_step()

    def save(self, step: int, *, model: Tree, meta: dict[str, Any], training: Tree = None) -> None:
        """Begins to write a checkpoint, after the one before is written.

        Arrays are copied from the device before this returns, so that the caller may donate the
        buffers of `training` to the next step. On a CPU they are not copied. There, JAX does not
        reuse a donated buffer while orbax holds it. A step that is already saved is not saved
        again: a run that was stopped after its last step saves the same content once more.

        Raises:
          UserError: it cannot be written, or the one before could not.
        """
        if step == self.latest:
            return
        self.wait()
        # `meta` is written later, and the caller may change it before.
        items = {
            "model": _orbax().args.StandardSave(model),
            "meta": _orbax().args.JsonSave(copy.deepcopy(meta)),
        }
        if training is not None:
            items["training"] = _orbax().args.StandardSave(training)
        self._writing = step
        with self._errors_of_writing():
            self._check_room([model, training])
            self._manager.save(step, args=_orbax().args.Composite(**items), force=True)

    def _check_room(self, trees: Tree) -> None:
        """Raises OSError if there is no room. orbax would say so in hundreds of lines."""
        if remote.is_remote(self._folder) or not sharding.is_main():
            return
        workdir.try_writing(self._folder)
        if shutil.disk_usage(self._folder).free < sum(x.nbytes for x in jax.tree.leaves(trees)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def wait(self) -> None:
        """Waits until the last checkpoint is written.

        Raises:
          UserError: it could not be written.
        """
        with self._errors_of_writing():
            self._manager.wait_until_finished()

    def only_newest(self) -> None:
        """Deletes all checkpoints but the newest, when the run is over.

        Raises:
          UserError: the newest could not be written.
        """
        self.wait()
        for step in self._manager.all_steps():
            if step != self.latest:
                self._manager.delete(step)

    def meta(self) -> dict[str, Any]:
        """The newest checkpoint's meta."""
        return self._restore("meta", _orbax().args.JsonRestore())

    def model(self, template: Tree) -> Tree:
        """The newest checkpoint's best variables, as arrays like `template`'s."""
        return self._restore("model", _orbax().args.StandardRestore(_abstract(template)))

    def training(self, template: Tree) -> Tree:
        """The newest checkpoint's training state, as arrays like `template`'s."""
        return self._restore("training", _orbax().args.StandardRestore(_abstract(template)))

    def _restore(self, item: str, args: Any) -> Any:
        self.wait()
        if (step := self.latest) is None:
            raise UserError(f"no checkpoint in {self._folder}: the run has not saved one yet")
        folder = self._folder / str(step)
        # One that is opened for writing has been checked already.
        if self._read_only and (wrong := checksums.damage(folder, f"{item}/")):
            # The checkpoint before is no substitute: the run's metrics are not those of its model.
            raise UserError(
                f"checkpoint {folder} is damaged in its part {item!r} ({wrong}): put back a copy of"
                " it, or train again in another --workdir"
            )
        try:
            return self._manager.restore(step, args=_orbax().args.Composite(**{item: args}))[item]
        except Exception as error:  # orbax raises many classes, and Exception itself.
            orbax_errors.forget_other_arrays()
            raise UserError(
                f"checkpoint {folder} cannot be restored: its part {item!r} is missing, damaged,"
                f" or of another model ({orbax_errors.reason(error)})"
            ) from error

    @contextlib.contextmanager
    def _errors_of_writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:  # TensorStore's are ValueErrors.
            orbax_errors.forget_other_arrays()
            far = remote.is_remote(self._folder)
            repair = "check the network" if far else "make room or repair the disk"
            raise UserError(
                f"checkpoint {self._folder / str(self._writing)} could not be written"
                f" ({orbax_errors.reason(error)}): {repair}, and give the same command again, which"
                " goes on from the checkpoint before"
            ) from error

    def _seal(self) -> None:
        """Writes the checksums. orbax calls this in one process, before a checkpoint is valid."""
        step = str(self._writing)
        for path in self._folder.iterdir():
            # On gs://, where folders cannot be renamed, it has its final name from the start.
            if path.name == step or path.name.startswith(f"{step}.orbax-checkpoint-tmp"):
                checksums.write(path)

    def _set_damaged_aside(self) -> None:
        """Renames newest checkpoints that are damaged. All processes then use the same one."""
        damaged, whole = self._damaged() if sharding.is_main() else ({}, -1)
        if not sharding.largest(len(damaged)):
            return
        whole = sharding.largest(whole)
        if whole < 0:
            self._manager.close()
            reasons = "; ".join(f"{step}: {reason}" for step, reason in damaged.items())
            raise UserError(
                f"all checkpoints in {self._folder} are damaged ({reasons or 'see process 0'}):"
                " put back a copy of one, or delete them for the run to begin again"
            )
        for step, reason in damaged.items():
            aside = self._free_name(f"damaged-{step}")
            (self._folder / str(step)).rename(aside)
            say(
                f"checkpoint {self._folder / str(step)} is damaged ({reason}): it is called"
                f" {aside.name} now, and the run goes on from step {whole}"
            )
        sharding.largest(0)  # All processes wait here until the first has renamed them.
        self._manager.reload()

    def _damaged(self) -> tuple[dict[int, str], int]:
        """The damage of the newest checkpoints by step, and the newest whole step, or -1."""
        damaged: dict[int, str] = {}
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            reason = checksums.damage(self._folder / str(step))
            if not reason:
                return damaged, step
            damaged[step] = reason
        return damaged, -1

    def _free_name(self, name: str) -> epath.Path:
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        return next(path for path in map(self._folder.joinpath, names) if not os.path.lexists(path))


def _is_aside(path: epath.Path) -> bool:
    """Whether this is what an earlier process has renamed, or what another one is writing."""
    return path.name.startswith("damaged-") or ".orbax-checkpoint-tmp" in path.name


def _abstract(template: Tree) -> Tree:
    """The template for orbax, which would else ask for the devices of the run that saved it."""
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def placed(leaf: Any) -> jax.ShapeDtypeStruct:
        where = getattr(leaf, "sharding", None) or here
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)

    return jax.tree.map(placed, template)
