"""Projects and photos of drawn faces."""

import io

import pytest
from PIL import Image

from cifsel.data import drawn_faces
from cifsel.web import projects
from cifsel.web.looks import Looks
from cifsel.web.projects import Projects


@pytest.fixture(scope="session")
def jpegs():
    """6 happy and 6 sad faces, as JPEGs, by class."""
    photos = drawn_faces.draw_faces(6)
    named = {name: [] for name in photos.class_names}
    for image, label in zip(photos.images, photos.labels, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=92)
        named[photos.class_names[label]].append(buffer.getvalue())
    return named


@pytest.fixture
def all_projects(tmp_path):
    return Projects(tmp_path / "work")


@pytest.fixture
def project(all_projects):
    return all_projects.get(projects.new_id())


@pytest.fixture
def looks():
    return Looks()
