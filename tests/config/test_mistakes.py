"""Configs with anything in them, and config files that are none: refused in one line."""

import json
import math
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict, config_dict
from paths import REPO

from cifsel import config as config_lib
from cifsel.config import validation
from cifsel.data import augment
from cifsel.errors import UserError, printable
from configs import effnet, mobilenet, quickstart, selfie


def ready():
    """A config of task 2 that only lacks what may be anything."""
    config = selfie.get_config()
    config.photos, config.init_from = "drawn", "imagenet"
    return config


WHOLE = {
    "task 1": effnet.get_config,
    "notebook": lambda: mobilenet.get_config("notebook"),
    "quickstart": quickstart.get_config,
    "task 2": ready,
}
FIELDS = [(name, field) for name, get in WHOLE.items() for field in config_lib.fields(get())]
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2, 31, 32, 1024, 1025, 2**31, 2**63, 10**400, True, False]),
    st.integers(),
    st.floats(),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308, 5e-324, -0.0, 0.5, 1.5]),
)
PLAIN = st.one_of(NUMBERS, st.text(max_size=9), st.none(), st.binary(max_size=3))
ANYTHING = st.one_of(
    PLAIN,
    st.lists(PLAIN, max_size=4),
    st.lists(PLAIN, max_size=4).map(tuple),
    st.sets(NUMBERS, max_size=2),
    st.dictionaries(st.text("ab", max_size=2), NUMBERS, max_size=2),
    st.just(object()),
    st.just(ConfigDict({"a": 1})),
    st.sampled_from([print, int, range(3), ..., 1j]),
)


def put(config, field, value):
    """Sets a field as a program can, whatever type it had."""
    *above, last = field.split(".")
    with config.unlocked():
        owner = config
        for name in above:
            owner = owner[name]
        with owner.unlocked():
            if last in owner:
                del owner[last]  # It would be cast to the type of what was there.
            owner[last] = value


def verdict(config):
    """The message, or '' if it is valid; then it has to be what a run can keep and use."""
    try:
        validation.validate(config)
    except UserError as error:
        assert str(error) == printable(error)
        return str(error)
    kept = json.dumps(config_lib.to_json(config), allow_nan=False)
    assert config_lib.differences(json.loads(kept), config_lib.to_json(config)) == []
    if config.task != "selfie":
        augment.Policy(**config.augment)
    return ""


@settings(max_examples=600, deadline=None, derandomize=True)
@given(which=st.sampled_from(FIELDS), value=ANYTHING)
def test_any_value_of_any_field(which, value):
    name, field = which
    config = WHOLE[name]()
    put(config, field, value)
    message = verdict(config)
    owner = field.removeprefix("selfie.").split(".")[0]
    # What is wrong may be told of a field that it does not go together with.
    if message and owner not in ("task", "method", "init_head", "pool", "processes", "process"):
        assert owner in message or "trainable_layers" in field


@settings(max_examples=100, deadline=None, derandomize=True)
@given(which=st.sampled_from(FIELDS))
def test_any_field_may_be_missing(which):
    name, field = which
    config = WHOLE[name]()
    *above, last = field.split(".")
    owner = config
    for part in above:
        owner = owner[part]
    with config.unlocked():
        del owner[last]
    message = verdict(config)
    if field.startswith("augment."):  # each is off by default
        assert message == ""
    else:
        assert last in message or "task" in message


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_is_nan_or_infinite(name, value):
    """Comparisons with NaN are all false, so that it passes a check that is the wrong way round."""
    for field in config_lib.fields(WHOLE[name]()):
        config = WHOLE[name]()
        put(config, field, value)
        assert verdict(config).startswith(f"config.{field} is {value}"), field
        put(config, field, (value,))
        assert verdict(config).startswith(f"config.{field} is ({value},)"), field


@pytest.mark.parametrize("name", WHOLE)
def test_truths_are_no_numbers_and_numbers_no_truths(name):
    for field in config_lib.fields(WHOLE[name]()):
        config = WHOLE[name]()
        put(config, field, True)
        owner, _, last = field.rpartition(".")
        switch = isinstance((WHOLE[name]()[owner] if owner else WHOLE[name]())[last], bool)
        assert bool(verdict(config)) != switch, field
        put(config, field, 1.0)
        if switch:
            assert verdict(config).endswith("expected True or False")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("image_size", 96.0, "a whole number"),
        ("epochs", 1.5, "a whole number"),
        ("learning_rate", 1, ""),
        ("warmup_epochs", 0, ""),
        ("probe_l2", [1, 2.5], ""),
        ("probe_l2", 0.1, "one or more numbers"),
        ("probe_l2", {0.1}, "one or more numbers"),
        ("probe_l2", "0.1", "one or more numbers"),
        ("augment", {"flip": True}, ""),
        ("augment", None, "ConfigDict"),
        ("augment.sharpen", 1, "unexpected keyword argument 'sharpen'"),
        ("augment.flip", 1, "True or False"),
        ("augment.shift", 2.0, "a whole number"),
        ("weights", "a\0b", "a text"),
        ("weights", None, "a text"),
        ("data_dir", 3, "a text"),
        ("data_dir", None, ""),
        ("name", ("a",), "a text"),
        ("distributed", None, "a text"),
        ("extra", math.nan, "cannot be kept as JSON"),
        ("seed", 10**400, "0 to"),
        ("extra", "\x1b[2J", ""),
    ],
)
def test_odd_values_of_task_1(field, value, said):
    config = effnet.get_config()
    put(config, field, value)
    message = verdict(config)
    assert said in message
    assert bool(said) == bool(message)


@pytest.mark.parametrize("config", [None, 3, {}, {"task": "task1"}, [], effnet])
def test_what_is_no_config_at_all(config):
    with pytest.raises(UserError, match=r"expected get_config\(\) to return a ConfigDict"):
        validation.validate(config)


@pytest.mark.parametrize("field", ["seed", "probe_l2", "mirror", "extra"])
def test_numbers_that_cannot_be_written(field):
    config = effnet.get_config()
    put(config, field, 10**5_000)
    assert "a int" in verdict(config) or "cannot be kept as JSON" in verdict(config)


def test_configs_that_lead_to_themselves():
    config = effnet.get_config()
    put(config, "again", config)
    assert "cannot be kept as JSON" in verdict(config)


def test_fields_that_have_no_value():
    config = effnet.get_config()
    with config.unlocked():
        del config["seed"]
        config.seed = config_dict.required_placeholder(int)
    assert verdict(config).startswith("config.seed has no value")


# --- files ---------------------------------------------------------------------------------------

GIVES = "def get_config(recipe='x'):\n    "
FILES = {
    "raises": ("raise RuntimeError('no\\x1b[2J\\nway')", r"(RuntimeError: no\x1b[2J way)"),
    "raises inside": (GIVES + "raise KeyError('seed')", "(KeyError: 'seed')"),
    "refuses": (GIVES + "raise ValueError(f'{__file__} has no recipe')", ".py has no recipe"),
    "no message": ("raise ValueError", "(ValueError: ValueError)"),
    "no words": ("class E(Exception):\n    __str__ = lambda _: 1 / 0\nraise E", "(E: E)"),
    "syntax": ("def get_config(:", "SyntaxError"),
    "brackets": ("x = " + "(" * 5_000, "too many nested"),
    "nothing": ("", "has no function get_config"),
    "no function": ("get_config = 3", "has no function get_config"),
    "arguments": ("def get_config(a, b, c):\n    return 1", "missing"),
    "endless": (GIVES + "return get_config()", "RecursionError"),
    "None": (GIVES + "return None", "returns NoneType; expected a ConfigDict"),
    "dict": (GIVES + "return {'task': 'task1'}", "returns dict; expected a ConfigDict"),
    "leaves": ("import sys\nsys.exit(0)", "(SystemExit: 0)"),
    "leaves inside": (GIVES + "raise SystemExit('bye')", "(SystemExit: bye)"),
    "module": ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
    "binary": (bytes(range(256)) * 9, "SyntaxError"),
    "zeros": (bytes(999), "null bytes"),
    "pickle": (b"\x80\x04cos\nsystem\n", "SyntaxError"),
    "latin-1": ("x = 'caf\xe9'".encode("latin-1"), "SyntaxError"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_give_no_config(tmp_path, kind):
    content, said = FILES[kind]
    path = tmp_path / "odd.py"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        config_lib.load(f"{path}:recipe")
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device", "long", "empty", "nul"])
def test_files_that_are_none(tmp_path, kind):
    path = str(tmp_path / "a\nb.py")
    if kind == "folder":
        os.mkdir(path)  # noqa: PTH102 - as it is
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        odd = {"device": "/dev/null", "long": "x" * 5_000, "empty": "", "nul": "\0"}
        path = odd.get(kind, path)
    with pytest.raises(UserError, match="--config cannot be read: ") as caught:
        config_lib.load(path)
    assert str(caught.value).isprintable()


def test_a_file_gives_the_recipe_that_follows_it():
    assert config_lib.load("configs/effnet.py:probe").recipe == "probe"
    assert config_lib.load("configs/effnet.py").recipe == "finetune"


# In forks of one process that has imported what takes seconds.
FORKS = """
import json, os, runpy, sys, warnings
warnings.simplefilter("ignore")  # about threads that this process does not have
import cifsel.train
for name, arguments in json.load(sys.stdin).items():
    if child := os.fork():
        print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    os.dup2(os.open(f"{sys.argv[1]}/{name}.said", os.O_CREAT | os.O_WRONLY), 2)
    sys.argv = ["cifsel.main", *arguments]
    try:
        runpy.run_module("cifsel.main", run_name="__main__", alter_sys=True)
    except SystemExit as done:
        os._exit(done.code)
"""
LINES = {
    "leaves": (["--config=FOLDER/leaves.py"], "leaves.py fails (SystemExit: 0)"),
    "dict": (["--config=FOLDER/dict.py"], "dict.py returns dict"),
    "wrong": (["--config=FOLDER/wrong.py"], "config.epochs is None; expected 1 to 10000"),
    "missing": (["--config=FOLDER/missing.py"], "config has no field 'epochs'"),
    "named": (["--config", "FOLDER/dict.py"], "dict.py returns dict"),
    "escape": (["--config=configs/effnet.py", "--config.model=\x1b[2J"], r"is '\x1b[2J'"),
    "field": (["--config=configs/effnet.py", "--config.\x1b[2J=3"], r"\x1b[2J"),
    "recipe": (["--config=configs/effnet.py:\x1b[2J"], r"no recipe '\x1b[2J'"),
    "infinite": (["--config=configs/effnet.py", "--config.probe_l2=(1e999,)"], "is (inf,)"),
    "digits": (
        ["--config=configs/effnet.py", "--config.seed=" + "9" * 5_000],
        "config.seed is '999",
    ),
    "address": (
        ["--config=configs/effnet.py", "--config.dataset=drawn", "--workdir=http://x\x1b[2J"],
        r"http://x\x1b[2J is neither a local path nor gs://BUCKET/NAME",
    ),
    "word": (["--config=configs/effnet.py", "\x1b[2J"], r"unexpected argument '\x1b[2J'"),
}


@pytest.mark.process
def test_the_command_says_it_in_one_line(tmp_path):
    whole = (REPO / "configs" / "effnet.py").read_text()
    for name, change in (("wrong", "c.epochs = None"), ("missing", "del c['epochs']")):
        changed = f"    with c.unlocked(), c.ignore_type():\n        {change}\n    return c"
        (tmp_path / f"{name}.py").write_text(whole.replace("    return c", changed))
    for name in ("leaves", "dict"):
        (tmp_path / f"{name}.py").write_text(FILES[name][0])
    commands = {
        name: [word.replace("FOLDER", str(tmp_path)) for word in words]
        for name, (words, _) in LINES.items()
    }
    done = subprocess.run(
        [sys.executable, "-c", FORKS, tmp_path],
        input=json.dumps(commands),
        cwd=REPO,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "CIFSEL_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line for line in done.stdout.splitlines() if line.endswith(" 2")] == [
        f"{name} 2" for name in LINES
    ]
    assert "\x1b" not in done.stdout
    for name, (_, expected) in LINES.items():
        said = (tmp_path / f"{name}.said").read_text()
        assert said.startswith("error: "), said
        assert said.count("\n") == 1
        assert said[:-1].isprintable()
        assert expected in said
