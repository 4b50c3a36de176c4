"""The confusion matrix for a page: what its cells say, and that all fits."""

import numpy as np
import pytest

from cifsel.reports import matrix

COUNTS = np.array([[6, 2, 2, 0], [0, 5, 0, 0], [0, 1, 3, 0], [0, 0, 0, 0]])
NAMES = ("ant", "bee", "cod_fish", "eel")


def large(classes=50, groups=10):
    counts = np.random.default_rng(0).poisson(0.2, (classes, classes)) + 9 * np.eye(
        classes, dtype=int
    )
    names = [f"class_of_animals_{index}" for index in range(classes)]
    coarse = [f"large_omnivores_and_herbivores_{index}" for index in range(groups)]
    return counts, names, coarse, np.arange(classes) % groups


def test_few_classes_are_shown_once():
    shown = matrix.confusion(COUNTS, NAMES)
    assert (shown.wide, shown.parts) == (None, ())
    said = {(cell.classes, cell.count): cell for cell in shown.narrow.cells}
    assert len(said) == 6  # Empty cells say nothing.
    right = said["ant: recognised", "6 of 10 images, 60.0 %"]
    mistake = said["ant: taken for cod fish", "2 of 10 images, 20.0 %"]
    assert (right.right, mistake.right) == (True, False)
    assert (right.text, mistake.text) == ("60", "20")
    assert mistake.shade < right.shade <= 0.45


def test_means_are_written_as_counts_with_a_digit():
    shown = matrix.confusion(
        np.array([[9, 3.35], [0.01, 11]]), ["happy", "sad"], unit="photos", as_counts=True
    )
    assert [cell.text for cell in shown.narrow.cells] == ["9", "3.4", "<0.1", "11"]
    assert shown.narrow.cells[1].count == "3.4 of 12.3 photos, 27.1 %"


def test_many_classes_are_shown_by_coarse_label_with_parts_and_whole():
    counts, names, coarse, coarse_of = large()
    shown = matrix.confusion(counts, names, coarse, coarse_of)
    assert len(shown.narrow.rows) == len(shown.parts) == 10
    assert len(shown.wide.rows) == 50
    inside = coarse_of == 3
    right = np.diag(counts)[inside].sum() / counts[inside].sum()
    assert shown.parts[3].title == f"large omnivores and herbivores 3: {100 * right:.0f} % right"
    part = shown.parts[3].grid
    assert len(part.rows) == 5
    assert part.columns[-1].lines[0][0] == "any other class"
    # The same images are counted, however they are divided.
    first = counts[coarse_of == 0].sum()
    assert shown.narrow.cells[0].count.split(" of ")[1].startswith(f"{first} images")


def test_many_classes_without_coarse_labels_are_shown_whole():
    counts, names, _, _ = large()
    shown = matrix.confusion(counts, names)
    assert shown.narrow is None
    assert len(shown.wide.rows) == 50


@pytest.mark.parametrize("name", ["x", "a name of a class " * 20, "猫" * 40, "W" * 99])
@pytest.mark.parametrize("classes", [2, 12, 20, 50])
def test_labels_and_cells_are_inside(name, classes):
    shown = matrix.confusion(np.eye(classes), [f"{name}{index}" for index in range(classes)])
    grid = shown.narrow or shown.wide
    assert grid.left + classes * grid.cell_width == pytest.approx(grid.width)
    for cell in grid.cells:
        assert cell.y + grid.cell_height <= grid.height
    longest = max(len(line) for label in grid.rows for line, _ in label.lines)
    assert 0 < longest <= 34
    assert grid.left < grid.width


def test_the_same_matrix_is_laid_out_the_same_way():
    assert matrix.confusion(*large()) == matrix.confusion(*large())
