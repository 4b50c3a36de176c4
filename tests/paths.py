"""Folders that tests read: the repository, and the real data beside it."""

from pathlib import Path

REPO = Path(__file__).parents[1]
TESTS = REPO / "tests"
# Images and weights. They are not committed, so tests that need them are marked `real`.
DATA = REPO.parent / "shared" / "data"
