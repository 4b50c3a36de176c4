"""The source distribution is whole, and the wheel that it gives works in another folder."""

import configparser
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from paths import REPO

from cifsel.prediction import published

pytestmark = [pytest.mark.process, pytest.mark.slow]

# As pip does where nothing can be downloaded.
BUILD = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"
FOLDERS = ("cifsel", "configs", "docs", "experiments", "tests")
MODELS = "experiments/models"
SETUP = configparser.ConfigParser()
SETUP.read(REPO / "setup.cfg")
VERSION = SETUP["metadata"]["version"]
VERSIONS = f"cifsel {VERSION}, jax {importlib.metadata.version('jax')}\n"


def run(*command, cwd, path=None):
    """Runs a command without this checkout."""
    settings = {"JAX_PLATFORMS": "cpu", "COLUMNS": "100"} | ({"PYTHONPATH": path} if path else {})
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=kept | settings,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def checked(*command, cwd):
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


def files_of_checkout():
    """The files that git knows, or would know. All of them where there is no git."""
    listing = ["git", "ls-files", "-co", "--exclude-standard"]
    done = subprocess.run(listing, cwd=REPO, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return [name for name in done.stdout.splitlines() if (REPO / name).is_file()]
    paths = (path.relative_to(REPO) for path in REPO.rglob("*") if path.is_file())
    return [str(path) for path in paths if path.suffix != ".pyc" and "egg-info" not in str(path)]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source distribution, unpacked, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    for name in files_of_checkout():
        (folder / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / name, folder / "checkout" / name)
    model = folder / "checkout" / MODELS / published.NAME
    model.parent.mkdir(exist_ok=True)
    model.touch()  # Stands in for a published model, as long as there is none.
    checked(sys.executable, "-c", BUILD.format("sdist"), folder, cwd=folder / "checkout")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "source")
    (source,) = (folder / "source").iterdir()
    names = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    checked(sys.executable, "-c", BUILD.format("wheel"), folder, cwd=source)
    (wheel,) = folder.glob("*.whl")
    return names, wheel


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The folder that the wheel was installed into."""
    target = tmp_path_factory.mktemp("installed")
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target]
    checked(sys.executable, *pip, built[1], cwd=target)
    return target


@pytest.fixture
def cifsel(installed, tmp_path):
    """(arguments) -> what the installed command did in a folder without a checkout."""
    return lambda *words: run(installed / "bin" / "cifsel", *words, cwd=tmp_path, path=installed)


def test_the_source_distribution_has_all_folders(built):
    names = files_of_checkout()
    expected = [name for name in names if name.startswith(tuple(f"{f}/" for f in FOLDERS))]
    assert {name.partition("/")[0] for name in expected} == set(FOLDERS)
    expected += ["README.md", "CONTRIBUTING.md", "LICENSE", "pyproject.toml", "setup.cfg"]
    assert set(expected) <= built[0]


def test_the_wheel_has_the_package_with_the_configs_and_nothing_beside_it(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    assert {name.partition("/")[0] for name in names} == {"cifsel", f"cifsel-{VERSION}.dist-info"}
    ours = [name for name in files_of_checkout() if name.startswith(("cifsel/", "configs/"))]
    assert {f"cifsel/{n}" if n.startswith("configs/") else n for n in ours} <= names
    # Of the published models, the one that `cifsel.predict` uses by itself.
    assert [name for name in names if "safetensors" in name] == [
        f"cifsel/published/{published.NAME}"
    ]


def test_the_command_names_its_versions(cifsel):
    done = cifsel("--version")
    assert (done.stdout, done.stderr, done.returncode) == (VERSIONS, "", 0)


def test_a_config_of_the_wheel_is_found_by_name(cifsel, installed):
    done = cifsel("train", "--config=effnet.py:probe", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: cifsel train [-h] ")
    assert "    cifsel train --config=quickstart.py --workdir=/tmp/quickstart\n" in done.stdout
    assert "fields of effnet.py:probe" in done.stdout
    assert " method = 'probe'  " in done.stdout
    done = cifsel("train", "--config=effnet.py:prob")
    assert done.stderr.startswith("error: effnet.py has no recipe 'prob' (did you mean probe?)")
    assert str(installed) not in done.stderr


def test_a_copied_config_works_anywhere(cifsel, installed, tmp_path):
    shutil.copy(installed / "cifsel" / "configs" / "folder.py", tmp_path / "mine.py")
    done = cifsel("train", "--config=mine.py:probe", "--config.image_sise=96")
    assert done.stderr == "error: config has no field 'image_sise' (did you mean image_size?)\n"
    assert not Path(tmp_path / "runs").exists()
