"""Questions to the TPU compiler and the use of its answers. Most need libtpu, but no TPU."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import jax
import numpy as np
import pytest
from paths import REPO
from PIL import Image

from cifsel import build
from cifsel import config as config_lib
from cifsel.errors import UserError
from cifsel.preflight import __main__ as preflight
from cifsel.preflight import chips, compiler, programs
from cifsel.runtime import sharding
from configs import common

# Of JAX's own cache, where other tests of this process have turned it on.
pytestmark = pytest.mark.filterwarnings("ignore:Error reading persistent compilation cache")
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu is not installed (pip install 'cifsel[tpu-aot]')",
)
TINY = {
    "model": "efficientnetv2-mini",
    "image_size": 32,
    "batch_size": 16,
    "eval_batch_size": 16,
    "train_examples": 100,
    "epochs": 3,
}


@pytest.fixture(autouse=True, scope="module")
def environment_stays() -> Iterator[None]:
    """Takes back what keeps libtpu from looking for a TPU; other tests start processes."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFSEL_CACHE", str(tmp_path))


def tiny(**changes):
    return config_lib.changed(common.get_config(), TINY | changes)


def programs_on(topology, **changes):
    mesh = sharding.in_a_row(compiler.devices(topology))
    return {program.name: program for program in programs.of_run(tiny(**changes), mesh)}


# --- by hand -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "layout", "elements"),
    [
        ((16, 14, 14, 512), "3,0,2,1:T(8,128)(2,1)", 16 * 14 * 14 * 512),
        # Fastest the 3 channels, then 5 images: to 128 and 8.
        ((5, 4, 4, 3), "3,0,2,1:T(8,128)", 8 * 4 * 4 * 128),
        ((16, 112, 112, 32), "0,3,2,1:T(8,128)(2,1)", 128 * 112 * 112 * 32),
        ((50,), "0:T(128)", 128),
        ((3, 5), "1,0", 15),
        ((), ":T(128)", 1),
    ],
)
def test_padding(shape, layout, elements):
    assert compiler.padded_size(shape, layout) == elements


HLO = """HloModule jit_scan, is_scheduled=true

%fused.1 (param_0: f32[1024]) -> f32[4096] {
  ROOT %huge = f32[4096,4096]{1,0:T(8,128)} broadcast(%param_0), dimensions={0}
}

%body (p: (f32[8,128])) -> f32[8,128] {
  %p = f32[900000]{0:T(128)} parameter(0)
  %conv.1 = bf16[4,8,128]{2,1,0:T(8,128)(2,1)} convolution(%p), metadata={FORWARD}
  %conv.2 = (bf16[4,8,64]{2,1,0:T(8,128)(2,1)}, f32[2,8,128]{2,1,0:T(8,128)S(1)}) FUSION
  ROOT %all-reduce.1 = (f32[50]{0:T(128)}, bf16[10,10]{1,0:T(8,128)}) all-reduce(%p, %p)
}

ENTRY %main (p: f32[8]) -> f32[8] {
  %copy.3 = f32[8,256]{1,0:T(8,128)} copy(%p)
  %while.1 = f32[900000]{0:T(128)} while(%copy.3), body=%body
}
"""
HLO = HLO.replace("FORWARD", 'op_name="jit(scan)/jvp()/backbone/block2b/conv"')
HLO = HLO.replace(
    "FUSION",
    'fusion(%p), calls=%fused.1, metadata={op_name="a/transpose(jvp())/backbone/block3a/conv"}',
)


def test_largest_temporaries():
    """Neither what is inside a fusion, nor what is there already, nor what is kept on the chip."""
    found = compiler.largest_temporaries(HLO)
    largest = {(one.layer, one.shape, one.bytes, one.padding) for one in found[:3]}
    assert largest == {
        ("backbone/block2b", "bf16[4,8,128]", 2 * 4 * 8 * 128, 1.0),
        ("copy", "f32[8,256]", 4 * 8 * 256, 1.0),
        ("gradient of backbone/block3a", "bf16[4,8,64]", 2 * 4 * 8 * 128, 2.0),
    }


def test_bytes_summed_over_chips():
    assert compiler.reduced(HLO) == 4 * 50 + 2 * 100


def test_roofline():
    chip = chips.Chip("test", flops=100.0, memory_bytes=1.0, memory_rate=10.0, network_rate=4.0)
    found = chips.bounds(chip, devices=4, flops=300.0, moved=20.0, reduced=16.0)
    assert (found.arithmetic, found.memory, found.network) == (3.0, 2.0, 6.0)
    assert (found.seconds, found.limit) == (6.0, "network")
    alone = chips.bounds(chip, devices=1, flops=300.0, moved=20.0, reduced=16.0)
    assert alone.limit == "arithmetic"
    assert alone.network == 0


@pytest.mark.parametrize("topology", ["v5e", "v5e:2x0", "v5e:0x2", "v9:2x2", "v5e:2", "v5e:2x2 "])
def test_unknown_topology(topology):
    with pytest.raises(UserError, match=r"--topology is .*expected one of v5e, v6e, v5p"):
        chips.parse(topology)


def test_without_libtpu(monkeypatch):
    def missing(**_):
        raise RuntimeError("JAX TPU support not installed; cannot generate TPU topology.")

    monkeypatch.setattr(compiler.topologies, "get_topology_desc", missing)
    with pytest.raises(UserError, match=r"pip install 'cifsel\[tpu-aot\]'"):
        compiler.devices("v5e:2x2")


def size(**fields):
    return dataclasses.astuple(programs.data_size(tiny(**fields)))


def test_sizes_are_those_of_the_data():
    assert size(train_examples=0) == (50, 32, 22_500, 2_500, 5_000)
    assert size(train_fraction=0.4, train_examples=0)[2] == 9_000
    assert size(val_per_class=40, test_examples=2_000)[3:] == (2_000, 2_000)
    assert size(dataset="cifar100:all", train_examples=0) == (100, 32, 45_000, 5_000, 10_000)


def test_sizes_of_own_images_are_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFSEL_CACHE", str(tmp_path / "cache"))
    for number in range(30):
        folder = tmp_path / "images" / "abc"[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    own = {"dataset": "folder", "data": str(tmp_path / "images"), "stored_size": 36}
    assert size(train_examples=0, **own) == (3, 36, 18, 6, 6)


# --- by the compiler -----------------------------------------------------------------------------


@pytest.mark.slow
@needs_libtpu
def test_lowered_for_the_target_not_for_this_machine():
    """On a machine with CPUs only: bfloat16, and XLA's own grouped convolution."""
    training = programs_on("v5e:2x2")["training"]
    text = training.function.lower(*training.arguments).as_text()
    convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert any("feature_group_count = 1 " not in line for line in convolutions)
    assert all("xbf16>" in line.rpartition("->")[2] for line in convolutions)
    assert jax.default_backend() == "cpu"


@pytest.mark.slow
@needs_libtpu
def test_each_chip_has_its_share(monkeypatch, build_tiny):
    monkeypatch.setattr(build, "build", build_tiny)
    single = compiler.analyse(programs_on("v5e:1x1", batch_size=16)["training"], "v5e:1x1")
    program = programs_on("v5e:2x2", batch_size=64)["training"]
    four = compiler.analyse(program, "v5e:2x2")
    assert four.flops == pytest.approx(single.flops, rel=0.05)
    assert single.reduced == 0 < four.reduced
    state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(program.arguments))
    assert state * 0.5 < four.arguments < state * 3  # Small arrays are padded.
    assert four.largest
    assert all(temporary.bytes > 0 for temporary in four.largest)


@pytest.mark.slow
@needs_libtpu
def test_the_programs_of_a_run(monkeypatch, build_tiny):
    monkeypatch.setattr(build, "build", build_tiny)
    found = programs_on("v5e:2x2")
    # 100 images: 7 steps of 16 an epoch. Features of 100 + 2,500, logits of 4 x 2,500 + 5,000.
    assert {name: program.runs for name, program in found.items()} == {
        "features": 7 + 157,
        "training": 3 * 7,
        "logits": 4 * 157 + 313,
    }
    assert found["training"].steps == 7
    assert list(programs_on("v5e:2x2", method="probe")) == ["features"]


@pytest.mark.slow
@needs_libtpu
def test_what_is_too_large_gets_advice(monkeypatch, build_tiny):
    monkeypatch.setattr(build, "build", build_tiny)
    changes = {"image_size": 512, "batch_size": 16_384, "train_examples": 20_000}
    config, training = tiny(**changes), programs_on("v5e:1x1", **changes)["training"]
    found = compiler.analyse(training, "v5e:1x1")
    assert isinstance(found, compiler.TooLarge)
    assert found.needed > found.available > 10e9
    row = preflight.Row(training, found, None)
    (line,) = preflight.advice(config, 1, chips.parse("v5e:1x1"), [row])
    assert "does not fit" in line
    assert "--config.accum_steps=" in line


@needs_libtpu
def test_a_batch_that_the_slice_cannot_share():
    with pytest.raises(UserError, match=r"batch_size is 18; expected a multiple of 4.*give 20"):
        preflight.examine(tiny(batch_size=18), "v5e:2x2")


@pytest.mark.slow
@needs_libtpu
def test_analyses_are_shown_and_kept(tmp_path, capsys, monkeypatch, build_tiny):
    monkeypatch.setattr(build, "build", build_tiny)

    def shown():
        preflight.show(tiny(), "v6e:2x2", preflight.examine(tiny(), "v6e:2x2"))
        return capsys.readouterr().out

    first = shown()
    for word in ("4 x v6e", "training", "suggested batch_size", "all fits", "images/s, at best"):
        assert word in first
    kept = list((tmp_path / "preflight").glob("*.json"))
    assert len(kept) == 3
    for file in kept:  # The second time they say what the first one left, without compiling.
        content = json.loads(file.read_text())
        file.write_text(json.dumps(content | {"code": 123e9}))
    assert "123.0 GB" in shown()


@pytest.mark.slow
@pytest.mark.process
@needs_libtpu
def test_the_command(tmp_path):
    flags = [f"--config.{name}={value}" for name, value in TINY.items()]
    command = [sys.executable, "-m", "cifsel.preflight", "--config=configs/effnet.py:probe", *flags]
    done = subprocess.run(
        [*command, "--topology=v6e:2x2"],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for word in ("4 x v6e", "features", "all fits", "images/s, at best"):
        assert word in done.stdout
    assert len(list((tmp_path / "preflight").glob("*.json"))) == 1
