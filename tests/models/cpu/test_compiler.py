"""Compiler options of forward passes and training steps."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifsel.data import augment
from cifsel.evaluation import features
from cifsel.models.cpu import compiler
from cifsel.training import optim, steps
from cifsel.training.objective import Objective
from cifsel.training.state import init_state

SIZE = 24


@pytest.fixture
def programs(build_tiny, variables_of):
    """The forward pass of runs and their training step, each as what it was compiled to."""
    model = build_tiny()
    variables = variables_of(model, SIZE)
    images = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    view = features.View(SIZE, "bilinear", mirror=False)
    forward = features.logits(model, view).lower(variables, images)

    rates = jax.tree.map(lambda _: 1.0, variables["params"])
    tx = optim.make("sgd", lambda step: 0.1, rates=rates, weight_decay=0.0, clip_norm=0.0)
    scan = steps.make_scan(model, tx, rates, Objective(SIZE, "bilinear", augment.Policy()))
    labels, mask = jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2))
    batches = {"inputs": jnp.asarray(images[None]), "labels": labels, "mask": mask}
    training = scan.lower(init_state(variables, tx, 0.0), batches, jax.random.key(0))
    return [lowered.compile().as_text() for lowered in (forward, training)]


def operations_by_ynnpack(program):
    """The kinds of those that a compiled program hands to it."""
    bodies = dict(re.findall(r"^%(\S+) \(.*?\{\n(.*?)^\}", program, re.DOTALL | re.MULTILINE))
    fusions = re.findall(r"calls=%(\S+),.*__ynn_fusion", program)
    return {kind for name in fusions for kind in re.findall(r"\b(\w+)\(%", bodies[name])}


def test_no_convolutions_or_products_are_left_to_ynnpack(programs):
    for program in programs:
        assert re.search(r"\bdot\(|\bconvolution\(", program)
        assert not operations_by_ynnpack(program) & {"dot", "convolution"}


def test_sums_are():
    options = compiler.compiler_options()
    if options is None:
        pytest.skip("this XLA has no YNNPACK")
    total = jax.jit(lambda x: x.sum((0, 1, 2)), compiler_options=options)
    program = total.lower(jnp.ones((8, 32, 32, 16))).compile().as_text()
    assert operations_by_ynnpack(program) == {"reduce"}


class TestCompilerOptions:
    @pytest.fixture(autouse=True)
    def anew(self):
        compiler.compiler_options.cache_clear()
        yield
        compiler.compiler_options.cache_clear()

    def test_none_for_an_accelerator(self, monkeypatch):
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        assert compiler.compiler_options() is None

    @pytest.mark.parametrize(
        "options",
        [{"xla_cpu_no_such_option": ""}, {"xla_cpu_experimental_ynn_fusion_type": "NO_SUCH_KIND"}],
    )
    def test_none_where_xla_does_not_know_them(self, monkeypatch, options):
        monkeypatch.setattr(compiler, "_SUMS_BY_YNNPACK", options)
        assert compiler.compiler_options() is None

    def test_those_that_xla_knows(self, monkeypatch):
        # One that all versions have.
        monkeypatch.setattr(compiler, "_SUMS_BY_YNNPACK", {"xla_cpu_prefer_vector_width": "256"})
        assert compiler.compiler_options() == {"xla_cpu_prefer_vector_width": "256"}


def test_initial_values_are_the_same_but_for_rounding_without_optimizations(monkeypatch):
    init = functools.partial(jax.nn.initializers.lecun_normal(), shape=(3, 3, 2, 4))
    quick = jax.jit(init, compiler_options=compiler.options_to_run_once())(jax.random.key(3))
    np.testing.assert_allclose(quick, jax.jit(init)(jax.random.key(3)), rtol=1e-6)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiler.options_to_run_once() is None
