"""The notebook runs from its first cell to its last, and is kept without outputs."""

import nbformat
import numpy as np
import pytest
from documents import ROOT
from nbclient import NotebookClient
from paths import TESTS
from PIL import Image

NOTEBOOK = ROOT / "docs" / "notebooks" / "ants_and_bees.ipynb"
# Real networks take half a minute to compile.
TINY = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
import pytest, tiny_run
tiny_run.make_small(pytest.MonkeyPatch())
"""


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


def execute(folder, monkeypatch, *, before="", **fields):
    """Executes the notebook on the images in a folder. Returns all that its cells gave."""
    notebook = read()
    (parameters,) = [
        cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])
    ]
    lines = parameters.source.splitlines()
    assert [line.split(" = ")[0] for line in lines] == ["IMAGES", "WORKDIR", "FIELDS"]
    parameters.source = (
        f"{before}\nIMAGES, WORKDIR, FIELDS = {str(folder / 'images')!r}, 'runs', {fields}"
    )
    for name, value in {
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "CIFSEL_CACHE": str(folder / "cache"),
        "IPYTHONDIR": str(folder / "ipython"),
    }.items():
        monkeypatch.setenv(name, value)
    context = {"metadata": {"path": str(folder)}}
    done = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources=context, shutdown_kernel="immediate"
    ).execute()
    return [output for cell in done.cells for output in cell.get("outputs", [])]


def assert_shows_it_all(outputs, folder):
    """A run, figures, a verdict, answers and evidence, and nothing that looks like a problem."""
    texts = [output.text for output in outputs if output.output_type == "stream"]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    assert "\x1b" not in "".join(texts)  # No progress bar is drawn over itself.
    pages = [
        output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})
    ]
    assert len(pages) == 2
    assert "effnet probe: test accuracy " in pages[0]
    assert "MobileNet" in pages[1]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2 + 4
    assert "".join(texts).count("\nPrediction(") + "".join(texts).startswith("Prediction(") >= 3
    assert (folder / "runs" / "comparison" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.process
def test_the_notebook_runs_on_drawn_images(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 6)):
        for label, tint in (("ants", (200, 80, 80)), ("bees", (80, 80, 200))):
            folder = tmp_path / "images" / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                blobs = rng.integers(0, 256, (6, 6, 3)) * 0.6 + np.array(tint) * 0.4
                image = Image.fromarray(blobs.astype(np.uint8)).resize((48, 48))
                image.save(folder / f"{number}.jpg", quality=95)
    outputs = execute(
        tmp_path, monkeypatch, before=TINY, image_size=32, weights="none", skip_unreadable=True
    )
    assert_shows_it_all(outputs, tmp_path)


def test_the_notebook_is_kept_without_outputs():
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    assert len(cells) > 8
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


def test_the_notebook_imports_only_what_is_there_on_colab():
    source = "\n".join(cell.source for cell in read().cells)
    assert not [name for name in ("configs", "experiments", "tests") if f"import {name}" in source]
