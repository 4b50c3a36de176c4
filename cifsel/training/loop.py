"""Gradient descent over epochs: evaluation, early stopping, checkpoints, resuming."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cifsel.data import batches
from cifsel.errors import UserError
from cifsel.evaluation import inference, scoring
from cifsel.runtime import memory, sharding
from cifsel.runtime.signals import Interrupted, stop_requests
from cifsel.terminal import duration, say, step_bar
from cifsel.training import profiling, steps
from cifsel.training.clock import Clock
from cifsel.workdir.checkpoints import Checkpoints
from cifsel.workdir.summaries import Writer

Tree = Any
# Longer than this is worth a word about quicker choices, in seconds.
LONG_RUN = 20 * 60
# A reason to save, beside the numbers of signals, which are larger.
LATE = 1


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long to train and when to save and stop; see the fields of the same name in a config."""

    epochs: int
    batch_size: int
    patience: int
    steps_per_call: int
    checkpoint_minutes: float
    seed: int


@dataclasses.dataclass
class Progress:
    """What is known after some epochs; saved with the checkpoint.

    Attributes:
      history: one dict of numbers per epoch.
      best: the entry of `history` with the best validation accuracy, the first of equals.
      seconds: training time so far, over all processes of the run.
    """

    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best: dict[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    def exhausted(self, patience: int) -> bool:
        """Whether `patience` epochs have brought nothing better."""
        if not patience or not self.history:
            return False
        return self.history[-1]["epoch"] - self.best["epoch"] >= patience


class Trainer:
    """Trains one model, going on from the newest checkpoint if there is one.

    Args:
      scan: from `steps.make_scan`.
      predict: jitted; (variables, inputs (B, ...)) -> logits (B, K).
      train: inputs (N, ...) and labels (N,).
      val: the same, to validate on.
      plan: see there.
      learning_rate: by step, to report it.
      eval_batch_size: inputs per call of `predict`.
      checkpoints: where to save.
      meta: what a checkpoint says about the model, beside the progress.
      writer: of summaries.
      trace: is told of every call of `scan`.
      diagnose: (state, batch, key) of a failed step -> what was the first not to be finite.
    """

    def __init__(
        self,
        scan: steps.ScanSteps,
        predict: Callable[[Tree, jax.Array], jax.Array],
        train: tuple[np.ndarray, np.ndarray],
        val: tuple[np.ndarray, np.ndarray],
        *,
        plan: Plan,
        learning_rate: Callable[[int], Any],
        eval_batch_size: int,
        checkpoints: Checkpoints,
        meta: dict[str, Any],
        writer: Writer,
        trace: profiling.Trace,
        diagnose: Callable[[steps.TrainState, dict[str, jax.Array], jax.Array], str],
    ) -> None:
        self._scan, self._predict, self._train, self._val = scan, predict, train, val
        self._steps_per_epoch = -(-len(train[1]) // plan.batch_size)
        self._plan, self._learning_rate, self._eval_batch_size = (
            plan,
            learning_rate,
            eval_batch_size,
        )
        self._checkpoints, self._meta, self._writer = checkpoints, meta, writer
        self._trace, self._diagnose = trace, diagnose
        # Two streams: the order of images may not depend on how many steps were taken.
        self._shuffle_key, step_key = jax.random.split(jax.random.key(plan.seed))
        self._step_key = sharding.everywhere(step_key)
        self._clock = Clock()

    def run(self, state: steps.TrainState) -> tuple[Tree, Progress]:
        """Trains until the last epoch, or until validation no longer improves.

        Args:
          state: the initial state; donated.

        Returns:
          The best variables by validation accuracy, and the progress.

        Raises:
          Interrupted: after Ctrl-C or SIGTERM, with everything saved.
          UserError: the loss is no longer finite, or a checkpoint cannot be written.
        """
        state = sharding.everywhere(state)
        # A copy, as the first step donates the state's buffers.
        self._best = jax.tree.map(jnp.array, state.variables())
        self._progress = Progress()
        if self._checkpoints.latest is not None:
            state = self._resume(state)
        plan = self._plan
        self._clock = Clock()
        with stop_requests() as stop, self._trace:
            while int(state.step) < plan.epochs * self._steps_per_epoch:
                if self._progress.exhausted(plan.patience):
                    say(f"no better validation accuracy in {plan.patience} epochs: stopping")
                    break
                state = self._epoch(state, stop)
                self._pause(state, stop)
        self._save(state)
        self._checkpoints.only_newest()
        return self._best, self._progress

    def _epoch(self, state: steps.TrainState, stop: Callable[[], int]) -> steps.TrainState:
        """Does the rest of an epoch and evaluates."""
        total, batch_size = self._steps_per_epoch, self._plan.batch_size
        epoch, start = divmod(int(state.step), total)
        key = jax.random.fold_in(self._shuffle_key, epoch)
        order, mask = map(np.asarray, batches.epoch_batches(key, len(self._train[1]), batch_size))
        per_call = self._plan.steps_per_call or total
        began = time.perf_counter()
        with step_bar() as bar:
            task = bar.add_task(f"epoch {epoch + 1}/{self._plan.epochs}", total=total)
            for first in range(start, total, per_call):
                last = min(first + per_call, total)
                bar.update(task, completed=first)
                some = self._batches(order[first:last], mask[first:last])
                state = self._scan(state, some, self._step_key)
                if bool(state.failed):  # Waits for the call to end.
                    number = int(state.step) - epoch * total - first
                    raise self._failure(state, {name: a[number] for name, a in some.items()})
                memory.release_when_short()
                self._trace.called(int(state.step))
                self._estimate(int(state.step))
                if last == total:
                    break  # What an epoch brought is saved with it.
                self._pause(state, stop)
        speed = (total - start) * batch_size / (time.perf_counter() - began)
        self._evaluate(state, epoch + 1, speed)
        return sharding.everywhere(state.next_epoch())

    def _batches(self, order: np.ndarray, mask: np.ndarray) -> dict[str, jax.Array]:
        """What `order` (S, B) picks, each batch divided between the devices."""
        inputs, labels = (sharding.rows(array, order, 1) for array in self._train)
        return {"inputs": inputs, "labels": labels, "mask": sharding.divide(mask, 1)}

    def _pause(self, state: steps.TrainState, stop: Callable[[], int]) -> None:
        """Saves if it is time to, or if any process is to stop, which it then does."""
        late = self._clock.since_save() >= self._plan.checkpoint_minutes * 60
        # Clocks and signals differ between processes; what they do together must not.
        reason = sharding.largest(stop() or (LATE if late else 0))
        if reason:
            self._save(state)
        if reason > LATE:
            self._checkpoints.wait()
            raise Interrupted(reason)

    def _evaluate(self, state: steps.TrainState, epoch: int, speed: float) -> None:
        variables, (inputs, labels) = state.variables(), self._val
        logits = inference.map_batches(
            lambda batch: self._predict(variables, batch), inputs, self._eval_batch_size
        )
        sums = jax.device_get(state.sums)
        entry = {
            "epoch": epoch,
            "step": int(state.step),
            "train_loss": float(sums.loss / sums.images),
            "train_accuracy": float(sums.correct / sums.images),
            "val_loss": scoring.cross_entropy(logits, labels),
            "val_accuracy": float(np.mean(logits.argmax(1) == labels)),
            "learning_rate": float(self._learning_rate(int(state.step) - 1)),
            "grad_norm": float(sums.grad_norm / sums.steps),
            "images_per_second": speed,
        }
        if not np.isfinite(entry["val_loss"]):
            raise UserError(
                f"the validation loss is {entry['val_loss']} after step {int(state.step)}:"
                f" {self._remedy(int(state.step) - 1)}"
            )
        self._progress.history.append(entry)
        if entry["val_accuracy"] > self._progress.best.get("val_accuracy", -1.0):
            self._progress.best = entry
            self._best = jax.tree.map(jnp.array, variables)
        say(
            f"epoch {epoch:>3}/{self._plan.epochs}"
            f"  train loss {entry['train_loss']:.3f} accuracy {entry['train_accuracy']:.1%}"
            f"  validation loss {entry['val_loss']:.3f} accuracy {entry['val_accuracy']:.1%}"
            f"{' *' if self._progress.best is entry else '  '}"
            f"  rate {entry['learning_rate']:.1e}  {speed:,.0f} images/s"
        )
        scalars = {_SUMMARY_NAMES.get(k, k): value for k, value in entry.items() if k not in _AXES}
        self._writer.write_scalars(int(state.step), scalars)

    def _failure(self, state: steps.TrainState, batch: dict[str, jax.Array]) -> UserError:
        """The error of a step that was not finite, where `state` is that before it."""
        step = int(state.step)
        culprit = self._diagnose(state, batch, self._step_key)
        return UserError(
            f"step {step + 1}, in epoch {step // self._steps_per_epoch + 1}, is not finite,"
            f" and {culprit} is the first that is not: {self._remedy(step)}"
        )

    def _remedy(self, step: int) -> str:
        rate, saved = float(self._learning_rate(step)), self._checkpoints.latest
        kept = "" if saved is None else f"; the checkpoint after step {saved} stays"
        return (
            f"lower config.learning_rate, which is {rate:g} there, or set config.clip_norm, for"
            f" another --workdir{kept}"
        )

    def _save(self, state: steps.TrainState) -> None:
        self._progress.seconds += self._clock.lap()
        about = self._meta | {"progress": dataclasses.asdict(self._progress)}
        self._checkpoints.save(int(state.step), model=self._best, meta=about, training=state)
        self._clock.saved()

    def _resume(self, state: steps.TrainState) -> steps.TrainState:
        self._best = self._checkpoints.model(self._best)
        self._progress = Progress(**self._checkpoints.meta()["progress"])
        state = self._checkpoints.training(state)
        epoch, step = divmod(int(state.step), self._steps_per_epoch)
        say(f"resuming after {epoch} epochs and {step} steps")
        return state

    def _estimate(self, step: int) -> None:
        """Says after the first steps how long a long run will take."""
        per_step = self._clock.time_per_step(step)
        if per_step is None:
            return
        left = (self._plan.epochs * self._steps_per_epoch - step) * per_step
        if left > LONG_RUN:
            say(
                f"about {duration(left)} left at {self._plan.batch_size / per_step:,.0f} images/s;"
                " quicker: a probe (--config=<file>:probe), a smaller --config.image_size,"
                " fewer --config.epochs. Going on; Ctrl-C saves and stops."
            )


# TensorBoard groups by the part before the slash.
_AXES = ("step", "epoch")  # Of all curves, and no curves themselves.
_SUMMARY_NAMES = {
    "train_loss": "train/loss",
    "train_accuracy": "train/accuracy",
    "val_loss": "val/loss",
    "val_accuracy": "val/accuracy",
}
