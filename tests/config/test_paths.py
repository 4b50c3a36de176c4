"""'~' in a path means the home folder, wherever the path stands: a shell expands none after '='."""

import ast
import importlib
import itertools
import sys

import pytest
from absl import flags
from etils import epath
from paths import REPO

from cifsel import predict
from cifsel.comparison import comparing
from cifsel.config import QUICKSTART, SELFIE, TASK1, changed, expand_paths, flag, local_path, path
from cifsel.config.schema import Place
from cifsel.runtime import remote
from configs import effnet, quickstart, selfie

# Names of fields and arguments that are no paths, though their help may sound like one.
PATHS = {"data", "data_dir", "split", "weights", "weights_dir", "photos", "people_csv", "init_from"}


@pytest.fixture(autouse=True)
def home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")


def test_every_field_that_is_a_path_is_known_as_one():
    fields = {**TASK1.fields, **SELFIE.fields, **QUICKSTART.fields}
    places = {name for name, field in fields.items() if isinstance(field, Place)}
    assert places == PATHS | {f"selfie.{name}" for name in PATHS & SELFIE.fields.keys()}


@pytest.mark.parametrize("config", [effnet, selfie, quickstart])
def test_fields_are_expanded(config):
    config = config.get_config()
    schema = {"task1": TASK1, "selfie": SELFIE, "quickstart": QUICKSTART}[config.task]
    names = [name for name, field in schema.fields.items() if isinstance(field, Place)]
    config.update_from_flattened_dict(dict.fromkeys(names, "~/x"))
    expand_paths(config)
    assert {config[n] if "." not in n else config.selfie[n[7:]] for n in names} == {"/home/me/x"}
    assert config.name != "~/x"


def test_words_addresses_and_several_paths():
    config = selfie.get_config()
    changes = {"photos": "~/happy.zip,~/sad,x~", "init_from": "imagenet", "weights_dir": "gs://b/~"}
    config = changed(config, changes)
    assert config.photos == "/home/me/happy.zip,/home/me/sad,x~"
    assert (config.init_from, config.weights_dir, config.people_csv) == (
        "imagenet",
        "gs://b/~",
        None,
    )


# Of ml_collections, on Python 3.11.
READS_CONFIGS = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@READS_CONFIGS
def test_fields_of_the_command_line(monkeypatch):
    words = ["--config=configs/effnet.py", "--config.data_dir=~/data", "--config.weights=~/w.h5"]
    monkeypatch.chdir(REPO)
    monkeypatch.setattr(sys, "argv", ["cifsel.main", *words])  # Where ml_collections looks too.
    flag.parse_flags(sys.argv)
    assert flag.CONFIG.value.data_dir == "/home/me/data"
    assert flag.CONFIG.value.weights == "/home/me/w.h5"


@READS_CONFIGS
def test_a_config_file_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text("from configs.effnet import get_config\n")
    flag.parse_flags(["cifsel.main", "--config=~/mine.py:probe"])
    assert flag.CONFIG.value.recipe == "probe"


def test_arguments_of_predict():
    given = predict.parser().parse_args(["--checkpoint=~/run", "--explain=~/seen", "a.jpg"])
    assert (given.checkpoint, given.explain) == ("/home/me/run", "/home/me/seen")


def test_arguments_of_compare(monkeypatch):
    given = ["compare", "~/a", "gs://b/~", "--output=~/c", "--reviewed=~/people.csv"]
    monkeypatch.setattr(sys, "argv", given)
    compare = importlib.import_module("cifsel.compare")
    monkeypatch.setattr(compare.command, "start", lambda: None)
    monkeypatch.setattr(compare.command, "guarded", lambda run: run())
    seen = []
    monkeypatch.setattr(comparing, "compare", lambda *given: seen.extend(given))
    compare.main()
    assert seen == [["/home/me/a", "gs://b/~"], "/home/me/c", "/home/me/people.csv"]


def test_paths_that_functions_are_given():
    assert remote.place("~/x") == epath.Path("/home/me/x")
    assert str(remote.path("~/x")) == "/home/me/x"
    assert str(remote.place("gs://b/~")) == "gs://b/~"
    assert (path("~/x"), str(local_path("~/x"))) == ("/home/me/x", "/home/me/x")


def calls_of_add(source):
    """The arguments that a file adds to a parser: names, and the keywords by name."""
    for node in ast.walk(ast.parse(source)):
        called = getattr(node, "func", None)
        if getattr(called, "id", getattr(called, "attr", "")) in ("add", "add_argument"):
            names = [word.value for word in node.args if isinstance(word, ast.Constant)]
            yield names, {word.arg: ast.unparse(word.value) for word in node.keywords}


def test_every_argument_that_is_a_path_is_read_as_one():
    files = [file for name in ("cifsel", "experiments") for file in (REPO / name).rglob("*.py")]
    sources = [text for file in files if "add_argument" in (text := file.read_text())]
    assert len(sources) > 10
    for names, keywords in itertools.chain.from_iterable(map(calls_of_add, sources)):
        kind = keywords.get("type", "").rpartition(".")[2]
        assert kind != "Path", f"{names} is read by pathlib, which leaves '~'"
        if keywords.get("metavar") in ("'DIR'", "'FILE'", "'RUN'"):
            assert kind in ("path", "local_path"), names


@pytest.fixture(autouse=True)
def as_before():
    """Settings of one test's command line are gone in the next."""
    yield
    flags.FLAGS.unparse_flags()
