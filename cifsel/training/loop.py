"""The training loop over epochs: evaluation, early stopping, checkpoints, resuming."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from cifsel.data import batches
from cifsel.data.images_on_disk import ImagesOnDisk
from cifsel.errors import UserError
from cifsel.evaluation import inference, scoring
from cifsel.runtime import memory, sharding
from cifsel.runtime.bars import step_bar
from cifsel.runtime.signals import Interrupted, stop_requests
from cifsel.runtime.terminal import count, duration, say
from cifsel.training.clock import LoopClock
from cifsel.training.loader import Loader
from cifsel.training.plan import Examples, Functions, Output, Plan
from cifsel.training.progress import Epoch, Progress, Start
from cifsel.training.state import TrainState
from cifsel.training.steps import Batch
from cifsel.workdir import model_meta

Tree = Any
# Seconds from which on the loop says how long it will take, and what would be quicker.
LONG_RUN = 20 * 60
# Share of the time from which on an epoch says that it waited for images.
LONG_WAIT = 0.05
# A reason to save. Signals are the others, and their numbers are larger.
LATE = 1


class Trainer:
    """Trains one model. It goes on from the newest checkpoint if there is one.

    Args:
      functions: of the model.
      train: training examples.
      val: validation examples.
      plan: how long to train, and when to save and stop.
      output: the places to write to.
    """

    def __init__(
        self, functions: Functions, train: Examples, val: Examples, plan: Plan, output: Output
    ) -> None:
        self._functions, self._train, self._val = functions, train, val
        self._plan, self._output = plan, output
        self._steps_per_epoch = plan.steps_per_epoch(len(train.labels))
        # Two streams, so that the order of images does not depend on the number of steps taken.
        self._shuffle_key, step_key = jax.random.split(jax.random.key(plan.seed))
        self._step_key = sharding.everywhere(step_key)
        self._clock = LoopClock()

    def run(self, state: TrainState, start: Start | None = None) -> tuple[Tree, Progress]:
        """Trains until the last epoch, or until validation no longer improves.

        Args:
          state: the initial state. It is donated.
          start: scores of the initial state, if it is a model already, such as a probe.

        Returns:
          The variables of best validation accuracy, and the progress. They are those of the
          initial state if no epoch is better than `start`.

        Raises:
          Interrupted: after Ctrl-C or SIGTERM, with everything saved.
          UserError: the loss is no longer finite, or a checkpoint cannot be written.
        """
        state = sharding.everywhere(state)
        # A copy, as the first step donates the state's buffers.
        self._best = sharding.copied(state.variables())
        self._progress = Progress(start=start)
        if self._output.checkpoints.latest is not None:
            state = self._resume(state)
        plan = self._plan
        self._clock = LoopClock()
        with stop_requests() as stop, self._output.trace:
            while int(state.step) < plan.epochs * self._steps_per_epoch:
                if self._progress.exhausted(plan.patience):
                    patience = count(plan.patience, "epoch")
                    say(f"no better validation accuracy in {patience}: stopping")
                    break
                state = self._epoch(state, stop)
                self._pause(state, stop)
        self._save(state)
        self._output.checkpoints.only_newest()
        return self._best, self._progress

    def _epoch(self, state: TrainState, stop: Callable[[], int]) -> TrainState:
        """Does the rest of an epoch and evaluates."""
        total, batch_size = self._steps_per_epoch, self._plan.batch_size
        epoch, start = divmod(int(state.step), total)
        key = jax.random.fold_in(self._shuffle_key, epoch)
        examples = len(self._train.labels)
        order, mask = map(np.asarray, batches.epoch_batches(key, examples, batch_size))
        per_call = self._plan.steps_per_call or total
        calls = range(start, total, per_call)

        def load(first: int) -> Batch:
            last = first + per_call
            return self._stacked_batches(order[first:last], mask[first:last])

        loader = Loader(load, read_ahead=isinstance(self._train.inputs, ImagesOnDisk))
        began = time.perf_counter()
        with step_bar() as bar:
            task = bar.add_task(f"epoch {epoch + 1}/{self._plan.epochs}", total=total)
            for first, stacked in zip(calls, loader.batches(calls), strict=True):
                last = min(first + per_call, total)
                bar.update(task, completed=first)
                state = self._functions.scan(state, stacked, self._step_key)
                if bool(state.failed):  # Waits for the call to end.
                    number = int(state.step) - epoch * total - first
                    raise self._failure(state, {name: a[number] for name, a in stacked.items()})
                memory.release_when_short()
                self._output.trace.called(int(state.step))
                self._estimate(int(state.step))
                if last == total:
                    break  # The end of an epoch is saved after its evaluation.
                self._pause(state, stop)
        seconds = time.perf_counter() - began
        self._evaluate(
            state, epoch + 1, (total - start) * batch_size / seconds, loader.waited / seconds
        )
        return sharding.everywhere(state.next_epoch())

    def _stacked_batches(self, order: np.ndarray, mask: np.ndarray) -> Batch:
        """Picks the examples at `order` (S, B). Each batch is divided between the devices."""
        inputs, labels = (sharding.rows(array, order, 1) for array in self._train)
        return {"inputs": inputs, "labels": labels, "mask": sharding.divide(mask, 1)}

    def _pause(self, state: TrainState, stop: Callable[[], int]) -> None:
        """Saves if it is time to. Saves and stops if any process was asked to stop."""
        late = self._clock.since_save() >= self._plan.checkpoint_minutes * 60
        # Clocks and signals differ between processes, which must save and stop together.
        reason = sharding.largest(stop() or (LATE if late else 0))
        if reason:
            self._save(state)
        if reason > LATE:
            self._output.checkpoints.wait()
            raise Interrupted(reason)

    def _evaluate(self, state: TrainState, number: int, speed: float, waiting: float) -> None:
        """Scores the validation images and reports the epoch."""
        variables = state.variables()
        logits = inference.map_batches(
            lambda batch: self._functions.predict(variables, batch),
            self._val.inputs,
            self._plan.eval_batch_size,
        )
        sums = jax.device_get(state.sums)
        epoch = Epoch(
            epoch=number,
            step=int(state.step),
            train_loss=float(sums.loss / sums.images),
            train_accuracy=float(sums.correct / sums.images),
            val_loss=scoring.cross_entropy(logits, self._val.labels),
            val_accuracy=float(np.mean(logits.argmax(1) == self._val.labels)),
            learning_rate=float(self._functions.learning_rate(int(state.step) - 1)),
            grad_norm=float(sums.grad_norm / sums.steps),
            images_per_second=speed,
            waiting=waiting,
        )
        if not np.isfinite(epoch.val_loss):
            raise UserError(
                f"the validation loss is {epoch.val_loss} after step {epoch.step}:"
                f" {self._remedy(epoch.step - 1)}"
            )
        is_best = self._progress.add(epoch)
        if is_best:
            self._best = sharding.copied(variables)
        say(
            f"epoch {number:>3}/{self._plan.epochs}"
            f"  train loss {epoch.train_loss:.3f} accuracy {epoch.train_accuracy:.1%}"
            f"  validation loss {epoch.val_loss:.3f} accuracy {epoch.val_accuracy:.1%}"
            f"  rate {epoch.learning_rate:.1e}  {speed:,.0f} images/s"
            f"{f', {waiting:.0%} of the time waiting for images' if waiting > LONG_WAIT else ''}"
            f"{'  best so far' if is_best else ''}"
        )
        # TensorBoard groups by the part of a name before the slash.
        self._output.writer.write_scalars(
            epoch.step,
            {
                "train/loss": epoch.train_loss,
                "train/accuracy": epoch.train_accuracy,
                "val/loss": epoch.val_loss,
                "val/accuracy": epoch.val_accuracy,
                "learning_rate": epoch.learning_rate,
                "grad_norm": epoch.grad_norm,
                "images_per_second": speed,
                "waiting_for_images": waiting,
            },
        )

    def _failure(self, state: TrainState, batch: Batch) -> UserError:
        """Makes the error of a step that was not finite, where `state` is that before it."""
        step = int(state.step)
        culprit = self._functions.diagnose(state, batch, self._step_key)
        return UserError(
            f"step {step + 1}, in epoch {step // self._steps_per_epoch + 1}, is not finite,"
            f" and {culprit} is the first that is not: {self._remedy(step)}"
        )

    def _remedy(self, step: int) -> str:
        rate, saved = float(self._functions.learning_rate(step)), self._output.checkpoints.latest
        kept = "" if saved is None else f"; the checkpoint after step {saved} stays"
        return (
            f"lower config.learning_rate, which is {rate:g} there, or set config.clip_norm, for"
            f" another --workdir{kept}"
        )

    def _save(self, state: TrainState) -> None:
        self._progress.seconds += self._clock.lap()
        meta = self._output.meta | {"progress": self._progress.to_json()}
        self._output.checkpoints.save(int(state.step), model=self._best, meta=meta, training=state)
        self._clock.saved()

    def _resume(self, state: TrainState) -> TrainState:
        checkpoints = self._output.checkpoints
        self._best = checkpoints.model(self._best)
        try:
            self._progress = Progress.from_json(checkpoints.meta()["progress"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise model_meta.not_understood(f"of step {checkpoints.latest}", error) from error
        state = checkpoints.training(state)
        epoch, step = divmod(int(state.step), self._steps_per_epoch)
        say(f"resuming after {count(epoch, 'epoch')} and {count(step, 'step')}")
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
