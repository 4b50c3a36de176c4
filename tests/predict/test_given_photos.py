"""Folders, zips, patterns and standard input: which photos are meant."""

import zipfile
from pathlib import Path

from bright_model import names_of, put


def test_folders_zips_and_patterns(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(Path("more/deep"), b=1, a=1)
    put(Path("more/__MACOSX"), x=1)
    put(Path("more"), z=1)
    Path("more/.hidden.png").write_bytes(b"")
    Path("more/Thumbs.db").write_bytes(b"")
    with zipfile.ZipFile("more/inner.zip", "w") as archive:
        archive.write("more/z.png", "in/one.png")
        archive.write("more/z.png", "__MACOSX/._one.png")
    Path("empty").mkdir()
    folder = ["more/deep/a.png", "more/deep/b.png", "more/inner.zip/in/one.png", "more/z.png"]
    assert names_of(run("more/", "--json")[0]) == folder
    assert names_of(run("more/inner.zip", "more/z.png", "--json")[0]) == folder[2:]
    assert names_of(run("more/*/[ab].png", "--json")[0]) == folder[:2]
    assert names_of(run("**", "--json")[0]) == folder  # each once
    for nothing in ("empty", "em*"):
        out, err, status = run(nothing)
        assert (out, status) == ("", 2)
        assert err == f"error: {nothing}: no files in it; expected photos\n"


def test_a_name_that_looks_like_a_pattern_is_a_name(run, tmp_path):
    (path,) = put(tmp_path, **{"a[1]": 25})
    assert names_of(run(path, "--json")[0]) == [path]


def test_paths_from_standard_input(run, tmp_path):
    first, second, third = put(tmp_path, **{"b": 1, " space ": 1, "-": 1})
    out, _, status = run(first, "-", third, "--json", stdin=f"{second}\r\n\n{third}\n")
    assert names_of(out) == [first, second, third, third]
    assert status == 0
    out, err, status = run("-", stdin="\n")
    assert (out, status) == ("", 2)
    assert "standard input is empty" in err
