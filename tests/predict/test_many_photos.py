"""Many photos: answers come early, in order, and in parts."""

import contextlib

from bright_model import names_of, put

from cifsel.data.photos import decoding, search
from cifsel.prediction import answers, predictor
from cifsel.runtime import threads


def test_answers_are_out_before_the_last_photos_are_decoded(model, tmp_path, monkeypatch):
    """And they come in the order of the photos, though those are decoded in threads."""
    paths = put(tmp_path, **{f"p{i:03}": 2 * i + 10 for i in range(100)})
    decoded = []

    def decode(source, name):
        decoded.append(name)
        return decoding.decode(source, name)

    monkeypatch.setattr(search, "decode", decode)
    monkeypatch.setattr(predictor, "batch_size", lambda: 4)
    monkeypatch.setattr(threads, "cores", lambda: 3)
    with contextlib.ExitStack() as stack:
        items = search.find_photos(paths, stack)
    given = answers.answer_photos(items, model, skip=True)
    first = next(given)
    assert len(decoded) <= 2 * 4 + 3 + 4  # two batches, one for each core, and the batch itself
    rest = list(given)
    assert [answer.photo for answer in [first, *rest]] == paths
    shares = [answer.probabilities[0] for answer in [first, *rest]]
    assert shares == sorted(shares)


def test_lines_are_printed_until_the_first_photo_with_a_problem(run, tmp_path, monkeypatch):
    monkeypatch.setattr(predictor, "batch_size", lambda: 3)
    paths = put(tmp_path, **{f"p{i}": 7 if i in (4, 6) else 100 for i in range(9)})
    for form, header in (("--jsonl", 0), ("--csv", 1)):
        out, err, status = run(*paths, form)
        lines = out.splitlines()[header:]
        assert len(lines) == 4
        assert all(path in line for path, line in zip(paths, lines, strict=False))
        assert [line.split(": ")[0] for line in err.splitlines()] == [paths[4], paths[6], "error"]
        assert err.splitlines()[-1].startswith("error: 2 of 9 photos cannot be used")
        assert status == 2


def test_shards_are_all_photos_once(run, tmp_path):
    paths = put(tmp_path, **{f"p{i}": 100 for i in range(5)})
    parts = [names_of(run(*paths, "--json", f"--shard={n}/3")[0]) for n in (1, 2, 3)]
    assert parts == [paths[0::3], paths[1::3], paths[2::3]]
    assert run(paths[0], "--jsonl", "--shard=2/2") == ("", "", 0)
    for wrong in ("0/3", "4/3", "3", "1/0", "-1/3", "a/b"):
        _, err, status = run(paths[0], f"--shard={wrong}")
        assert status == 2
        assert "give the number of the part and how many there are, such as 3/16" in err
