"""Explanations: a file for each photo, and no photo is replaced."""

from pathlib import Path

import numpy as np
from bright_model import put
from PIL import Image


def test_explanations_have_a_file_each(run, model, tmp_path):
    paths = [*put(tmp_path / "a", x=200, y=25), *put(tmp_path / "b", X=134)]
    made = tmp_path / "new" / "explained"
    out, err, status = run(*paths, f"--explain={made}")
    assert (err, status, len(out.splitlines())) == ("", 0, 3)
    assert {path.name for path in made.iterdir()} == {"x.png", "y.png", "X-2.png"}
    # The map of this model has one cell, which says nothing of places: photos stay as they are.
    expected = {"x.png": 200, "y.png": 25, "X-2.png": 134}
    for name, level in expected.items():
        with Image.open(made / name) as picture:
            np.testing.assert_allclose(np.asarray(picture), np.full((8, 8, 3), level), atol=1)


def test_explanations_of_skipped_photos_do_not_move_those_of_others(run, mixed, tmp_path):
    made = tmp_path / "explained"
    run(tmp_path, "--skip-unreadable", f"--explain={made}")
    assert {path.name for path in made.iterdir()} == {"a.png", "z.png"}
    with Image.open(made / "z.png") as picture:
        assert picture.getpixel((0, 0)) == (200,) * 3


def test_explanations_never_replace_photos(run, tmp_path):
    (path,) = put(tmp_path, a=25)
    before = Path(path).read_bytes()
    _, err, status = run(path, f"--explain={tmp_path}")
    assert status == 2
    assert "has photos in it that are to be explained" in err
    assert Path(path).read_bytes() == before
    _, err, status = run(path, f"--explain={path}")
    assert status == 2
    assert err.startswith(f"error: explain {path} cannot be written")
