"""A tiny model's training, compiled once for a file."""

from typing import Any

import jax
import pytest
from tiny_model import build_tiny

from cifsel.data import augment
from cifsel.evaluation import features
from cifsel.training import optim, steps
from cifsel.training.objective import Objective
from cifsel.training.state import init_state


@pytest.fixture(scope="module")
def real(variables_of: Any) -> Any:
    """Compiled functions of a tiny model's training, and a function that makes its first state."""
    model = build_tiny(num_classes=5, dropout=0.3)
    variables = variables_of(model, 32)
    rates = jax.tree.map(lambda _: 1.0, variables["params"])
    tx = optim.make("adamw", lambda step: 0.02, rates=rates, weight_decay=0.1, clip_norm=1.0)
    policy = augment.Policy(flip=True, shift=4)
    objective = Objective(32, "nearest", policy, frozen_bn=False, ema_decay=0.5)
    scan = steps.make_scan(model, tx, rates, objective)
    predict = features.logits(model, features.View(32, "nearest", mirror=False))
    return scan, predict, lambda: init_state(variables, tx, 0.5)
