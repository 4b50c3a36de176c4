import io
import os
import signal
import subprocess
import sys
import textwrap
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cifsel.workdir import summaries


def python(source):
    """Runs source in a fresh interpreter, as only that shows what an import drags in and prints."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        check=False,
    )


def picture():
    height, width = 5, 7  # not square: a transposed picture would not pass
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def events_by_run(tmp_path_factory):
    """A run with one summary of each kind, read back as TensorBoard reads it."""
    pytest.importorskip("tensorflow", reason="needs TensorFlow to write summaries")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path_factory.mktemp("run") / "made" / "here"
    with summaries.open_writer(folder) as writer:
        writer.write_scalars(1, {"loss/held": jnp.float32(3.5), "rate": 1, "val/loss": 0.5})
        writer.write_scalars(2, {"loss/held": np.float32(2.5), "train/loss": 1.5})
        writer.write_images(2, {"grid": picture()})
        writer.write_texts(0, {"overview": summaries.code_block("| a  b |\n| c  d |")})
        writer.write_histograms(2, {"weights": jnp.arange(10.0)})
        writer.write_hparams({"model": {"name": "mobilenet", "alpha": 1.0}, "seed": 0, "dir": None})
    by_run = {}
    for run in (".", "train", "val"):
        size = {"images": 0, "tensors": 0}
        by_run[run] = EventAccumulator(str(folder / run), size_guidance=size)
        by_run[run].Reload()
    return by_run


@pytest.fixture(scope="module")
def events(events_by_run):
    """Those of the run as a whole."""
    return events_by_run["."]


def tensor(events, tag):
    from tensorboard.util import tensor_util

    return [(e.step, tensor_util.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)]


@pytest.mark.slow
def test_scalars_come_back_with_their_steps(events):
    assert tensor(events, "loss/held") == [(1, 3.5), (2, 2.5)]
    assert tensor(events, "rate") == [(1, 1.0)]


@pytest.mark.slow
def test_train_and_val_are_runs_that_share_the_name_of_a_scalar(events_by_run):
    assert tensor(events_by_run["train"], "loss") == [(2, 1.5)]
    assert tensor(events_by_run["val"], "loss") == [(1, 0.5)]
    for run in ("train", "val"):
        assert events_by_run[run].Tags()["tensors"] == ["loss"]


@pytest.mark.slow
def test_pictures_come_back_pixel_for_pixel(events):
    ((step, (width, height, encoded)),) = tensor(events, "grid")
    assert (step, int(width), int(height)) == (2, 7, 5)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), picture())


@pytest.mark.filterwarnings("ignore:html5lib:DeprecationWarning")
@pytest.mark.slow
def test_code_blocks_are_shown_as_they_are(events):
    from tensorboard.plugin_util import markdown_to_safe_html

    ((step, text),) = tensor(events, "overview")
    html = markdown_to_safe_html(text.item())
    assert step == 0
    assert "<pre><code>| a  b |\n| c  d |\n</code></pre>" in html


@pytest.mark.slow
def test_histograms_count_everything(events):
    ((_, buckets),) = tensor(events, "weights")
    assert buckets[:, 2].sum() == 10  # columns: left edge, right edge, count
    assert (buckets[0, 0], buckets[-1, 1]) == (0.0, 9.0)


@pytest.mark.slow
def test_hparams_are_flattened(events):
    from tensorboard.plugins.hparams import metadata

    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    hparams = metadata.parse_session_start_info_plugin_data(content).hparams
    assert hparams["model.name"].string_value == "mobilenet"
    assert hparams["model.alpha"].number_value == 1.0
    assert hparams["seed"].number_value == 0
    assert hparams["dir"].string_value == ""


@pytest.mark.process
@pytest.mark.slow
def test_importing_needs_no_tensorflow_and_writing_prints_nothing(tmp_path):
    pytest.importorskip("tensorflow", reason="needs TensorFlow to write summaries")
    done = python(f"""
        import sys
        from cifsel.workdir import summaries
        assert "tensorflow" not in sys.modules, "imported too early"
        with summaries.open_writer({str(tmp_path)!r}) as writer:
            writer.write_scalars(1, {{"loss": 1.0}})
            writer.write_hparams({{"seed": 0}})
        assert "tensorflow" in sys.modules
        """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1


def test_without_tensorflow_a_run_goes_on_and_one_line_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with summaries.open_writer(tmp_path) as writer:
        write_one_of_each(writer)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("TensorBoard summaries are off")
    assert "tensorflow" in err
    assert list(tmp_path.iterdir()) == []


def write_one_of_each(writer: summaries.Writer):
    writer.write_scalars(1, {"loss": 1.0})
    writer.write_images(1, {"grid": picture()})
    writer.write_texts(1, {"text": "hello"})
    writer.write_histograms(1, {"weights": np.arange(3)})
    writer.write_hparams({"seed": 0})
    writer.flush()


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with summaries.open_writer(tmp_path) as writer:
        write_one_of_each(writer)
    assert list(tmp_path.iterdir()) == []


def test_closes_once_even_after_an_error():
    calls = []

    class Recorder:
        def close(self):
            calls.append("close")

    writer = summaries.Summaries(Recorder())
    with pytest.raises(KeyError), writer:
        raise KeyError
    writer.close()
    assert calls == ["close"]
    write_one_of_each(writer)  # afterwards nothing happens


@pytest.mark.slow
def test_ctrl_c_while_it_waits_closes_all_the_same(tmp_path, monkeypatch):
    free, calls = threading.Event(), []

    class Slow:
        def write_scalars(self, step, scalars):
            calls.append("write")

        def flush(self):
            os.kill(os.getpid(), signal.SIGINT)
            free.wait(20)

        def close(self):
            calls.append("close")

    monkeypatch.setattr(summaries._InBackground, "_writer", Slow())
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), summaries.open_writer(tmp_path) as writer:
            writer.write_scalars(1, {"loss": 1.0})
            try:
                writer.flush()
            finally:
                free.set()
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls == ["write", "close"]


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
)
def test_refuses_pictures_that_would_show_wrong(image):
    with pytest.raises(ValueError, match=r"grid: need \(H, W, 3\) uint8"):
        summaries.Summaries().write_images(0, {"grid": image})


def test_parameter_overview_lists_and_counts():
    params = {"stem": {"kernel": jnp.zeros((3, 3, 3, 8)), "scale": np.zeros(8, np.float32)}}
    text = summaries.parameter_overview(params)
    assert "stem/kernel" in text
    assert "(3, 3, 3, 8)" in text
    assert "Total: 224" in text
