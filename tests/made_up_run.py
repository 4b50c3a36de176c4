"""The results of a run of task 1 that was never trained."""

from cifsel.evaluation.cost import Cost
from cifsel.training.progress import Epoch, Progress
from cifsel.training.results import RunMetrics
from cifsel.workdir.provenance import Devices, Provenance

FLOPS = {"mobilenet": 3e8, "efficientnetv2-b0": 5e8}


def metrics_of(settings, dataset, folder, val, test):
    history = [epoch(1), epoch(2)]
    return RunMetrics(
        name=settings["name"],
        recipe=settings["recipe"],
        model=settings["model"],
        dataset="drawn",
        examples={"train": 100, "val": 100, "test": 100},
        fingerprint=dataset.fingerprint,
        config=settings,
        val=val,
        test=test,
        training=Progress(history, history[-1], seconds=60.0),
        probe=None,
        cost=Cost(
            parameters=1000,
            flops_per_image=FLOPS[settings["model"]],
            passes_per_image=2,
            images_per_second=100.0,
            seconds={"probe": 1.0, "training": 60.0, "test": 2.0},
        ),
        weights=None,
        provenance=Provenance(
            versions={"python": "3.11.2", "jax": "0.10.2", "clu": None},
            devices=Devices("cpu", "cpu", 1, "a processor", 2),
            command=f"python -m cifsel.main --config=x --workdir={folder}",
            git_commit="0123456789abcdef" * 2 + "01234567",
            finished="2026-11-29T12:00:00+00:00",
        ),
    )


def epoch(number):
    return Epoch(
        epoch=number,
        step=10 * number,
        train_loss=1 / number,
        train_accuracy=0.5,
        val_loss=1 / number,
        val_accuracy=0.4 + 0.1 * number,
        learning_rate=1e-3,
        grad_norm=1.0,
        images_per_second=100.0,
        waiting=0.0,
    )
