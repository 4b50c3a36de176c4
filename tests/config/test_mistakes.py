"""Mistakes in a config file or on the command line are told in one line."""

import ast
import json
import os
import subprocess
import sys

import pytest
from paths import REPO

from cifsel import config as config_lib
from cifsel.config import files
from cifsel.errors import UserError

# --- files ---------------------------------------------------------------------------------------

GIVES = "def get_config(recipe='x'):\n    "
FILES = {
    "raises": (GIVES + "raise KeyError('seed')", "(KeyError: 'seed')"),
    "raises on import": (
        "raise RuntimeError('no\\x1b[2J\\nway')",
        r"(RuntimeError: no\x1b[2J way)",
    ),
    "recipe": (GIVES + "raise ValueError(f'{__file__} has no recipe')", ".py has no recipe"),
    "syntax": ("def get_config(:", "SyntaxError"),
    "empty": ("", "has no function get_config"),
    "type": (
        "from configs import effnet\n" + GIVES + "c = effnet.get_config(); c.epochs = 'six'",
        "(TypeError: ",
    ),
    "None": (GIVES + "pass", "returns NoneType; expected a ConfigDict"),
    "dict": (GIVES + "return {'task': 'task1'}", "returns dict; expected a ConfigDict"),
    "module": ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
    "latin-1": ("x = 'caf\xe9'".encode("latin-1"), "SyntaxError"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_give_no_config(tmp_path, kind):
    content, words = FILES[kind]
    path = tmp_path / "odd.py"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        config_lib.load(f"{path}:recipe")
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_files_that_are_not_there(tmp_path, kind):
    path = {"missing": tmp_path / "a.py", "folder": tmp_path}[kind]
    with pytest.raises(UserError, match="--config cannot be read: ") as caught:
        config_lib.load(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("argument", ["effnet", "effnet.py", "configs/effnet.py"])
def test_files_of_cifsel_are_found_from_any_folder(tmp_path, monkeypatch, argument):
    monkeypatch.chdir(tmp_path)
    assert config_lib.load(f"{argument}:probe").recipe == "probe"
    with pytest.raises(UserError, match=f"^{argument} has no recipe 'prob' .did you mean probe"):
        config_lib.load(f"{argument}:prob")


def test_a_file_here_comes_before_one_of_cifsel(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "effnet.py", tmp_path / "configs" / "effnet.py"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"def get_config(): raise ValueError(f'{path}, {{__file__}}')")
        name = str(path.relative_to(tmp_path))
        with pytest.raises(UserError, match=f"{path}, {name}"):
            config_lib.load(name)


@pytest.mark.parametrize("argument", ["other/effnet.py", "effnet.txt", "configs/configs/effnet.py"])
def test_no_other_path_means_a_file_of_cifsel(tmp_path, monkeypatch, argument):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"No such file: .*; cifsel has effnet \(finetune, probe"):
        config_lib.load(argument)


@pytest.mark.parametrize("stem", files.shipped())
def test_a_config_file_imports_only_the_package(stem):
    """So that a copy of it works anywhere."""
    tree = ast.parse((REPO / "configs" / f"{stem}.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {ast.unparse(node).split()[1] for node in imports} == {"ml_collections", "cifsel.config"}


def test_a_file_gives_the_recipe_that_follows_it():
    assert config_lib.load("configs/effnet.py:probe").recipe == "probe"
    assert config_lib.load("configs/effnet.py").recipe == "finetune"


# --- from Python ---------------------------------------------------------------------------------


def test_a_config_by_name_with_changes(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = config_lib.get_config("effnet", "probe", image_size=96, augment={"shift": 2})
    assert (config.name, config.recipe, config.image_size) == ("effnet", "probe", 96)
    assert (config.augment.shift, config.augment.flip) == (2, True)
    config.seed = 3
    assert config_lib.get_config("effnet:probe").seed == 0
    folder = config_lib.get_config("folder", data=tmp_path, **{"augment.flip": False})
    assert (folder.data, folder.augment.flip) == (str(tmp_path), False)
    with pytest.raises(AttributeError, match="epocs"):
        config.epocs = 3


@pytest.mark.parametrize(
    ("names", "changes", "words"),
    [
        (("efnet",), {}, "did you mean effnet.py"),
        (("effnet", "prob"), {}, "effnet has no recipe 'prob' (did you mean probe?)"),
        (("effnet",), {"epocs": 3}, "no field 'epocs' (did you mean epochs?)"),
        (("effnet",), {"augment": {"flipp": True}}, "(did you mean augment.flip?)"),
        (("effnet",), {"epochs": "six"}, "config.epochs is 'six'; expected int, 1 to 10000"),
        (("effnet",), {"epochs": 0}, "config.epochs is 0; expected int, 1 to 10000"),
        (("effnet",), {"augment": 3}, "config has no field 'augment'"),
    ],
)
def test_what_cannot_be_had_by_name(monkeypatch, tmp_path, names, changes, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        config_lib.get_config(*names, **changes)
    assert words in str(caught.value)


# --- the command ---------------------------------------------------------------------------------

# In forks of one process that has imported what takes seconds.
FORKS = """
import json, os, runpy, sys, warnings
warnings.simplefilter("ignore")  # About threads that this process does not have.
import cifsel.task1
for name, arguments in json.load(sys.stdin).items():
    if child := os.fork():
        print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    os.dup2(os.open(f"{sys.argv[1]}/{name}.err", os.O_CREAT | os.O_WRONLY), 2)
    sys.argv = ["cifsel.main", *arguments]
    try:
        runpy.run_module("cifsel.main", run_name="__main__", alter_sys=True)
    except SystemExit as done:
        os._exit(done.code)
"""
EFFNET = "--config=configs/effnet.py"
LINES = {
    "dict": (["--config=FOLDER/dict.py"], "dict.py returns dict"),
    "two words": (["--config", "FOLDER/dict.py"], "dict.py returns dict"),
    "none": (["--config=FOLDER/none.py"], "config.epochs is None; expected int, 1 to 10000"),
    "missing": (["--config=FOLDER/missing.py"], "the config lacks epochs; start from"),
    "typo": (["--config=FOLDER/typo.py"], "no field 'epocs' (did you mean epochs?)\n"),
    "field": ([EFFNET, "--config.epocs=3"], "no field 'epocs' (did you mean epochs?)\n"),
    "hyphen": ([EFFNET, "--config.image-size=64"], "(did you mean image_size?)"),
    "hyphen in two words": ([EFFNET, "--config.init-from", "x"], "no field 'init-from'"),
    "no config.": (
        [EFFNET, "--image_size=64"],
        "(did you mean --config.image_size?)",
    ),
    "nor its group": ([EFFNET, "--flip=1"], "(did you mean --config.augment.flip?)"),
    "no": ([EFFNET, "--config.augment.flip=no"], "is 'no' (did you mean False?); expected True or"),
    "choice": ([EFFNET, "--config.model=efficientnet-b0"], "(did you mean efficientnetv2-b0?)"),
    "group": ([EFFNET, "--config.augment=3"], "'3'; expected one of its fields, --config.augment."),
    "name": (["--config=efnet"], "'efnet' (did you mean configs/effnet.py?); cifsel has effnet ("),
    "file": (["--config=configs/efnet.py"], "(did you mean configs/effnet.py?)"),
    "no name": (
        ["--config="],
        "--config is empty; cifsel has effnet (finetune, probe, longer, notebook), ",
    ),
    "recipe of a name": (["--config", "effnet:prob"], "effnet has no recipe 'prob' (did you mean"),
    "field of a name": (["--config=effnet", "--config.epocs=3"], "(did you mean epochs?)"),
    "near recipe": ([f"{EFFNET}:prob"], "no recipe 'prob' (did you mean probe?); expected"),
    "nothing near": (
        [EFFNET, "--config.xyzzy=3"],
        "'xyzzy'; --help beside --config lists its",
    ),
    "nested": ([EFFNET, "--config.augment.flipp=True"], "(did you mean augment.flip?)"),
    "value": ([EFFNET, "--config.epochs=six"], "config.epochs is 'six'; expected int, 1 to 10000"),
    "escape": ([EFFNET, "--config.model=\x1b[2J"], r"is '\x1b[2J'; expected one of mobilenet"),
    "odd field": ([EFFNET, "--config.\x1b[2J=3"], r"\x1b[2J"),
    "recipe": ([f"{EFFNET}:\x1b[2J"], r"no recipe '\x1b[2J'"),
    "infinite": ([EFFNET, "--config.probe_l2=(1e999,)"], "config.probe_l2 is (inf,); expected"),
    "address": (
        [EFFNET, "--config.dataset=drawn", "--workdir=http://x\x1b[2J"],
        r"http://x\x1b[2J is neither a local path nor gs://BUCKET/NAME",
    ),
    "word": ([EFFNET, "\x1b[2J"], r"unexpected argument '\x1b[2J'"),
    "flag": ([EFFNET, "--worcdir=x"], "no flag --worcdir (did you mean --workdir?)"),
}


@pytest.mark.process
@pytest.mark.slow
def test_the_command_says_it_in_one_line(tmp_path):
    source = (REPO / "configs" / "effnet.py").read_text()
    changes = {"none": "c.epochs = None", "missing": "del c['epochs']", "typo": "c.epocs = 3"}
    for name, change in changes.items():
        (tmp_path / f"{name}.py").write_text(source.replace("return c\n", f"{change}; return c\n"))
    (tmp_path / "dict.py").write_text(FILES["dict"][0])
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
        line = (tmp_path / f"{name}.err").read_text()
        assert line.startswith("error: "), line
        assert line.count("\n") == 1
        assert line[:-1].isprintable()
        assert expected in line
