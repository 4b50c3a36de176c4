"""Links, prose and README's tree; error messages in the documentation are those of the program."""

import ast
import re
import statistics

import pytest
from documents import DOCUMENTS, ROOT, anchors, blocks, links, sentences, without_code

README = ROOT / "README.md"
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
VARIABLE = "..."

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@each_document
def test_links_lead_somewhere(document):
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@each_document
def test_named_files_exist(document):
    folders = "cifsel|configs|docs|experiments|tests"
    for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", document.read_text()):
        assert (ROOT / path).exists(), path


@each_document
def test_sentences_are_short(document):
    lengths = [len(sentence.split()) for sentence in sentences(document)]
    assert statistics.median(lengths) <= 15
    assert ";" not in without_code(document.read_text())


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= 150


def test_readme_names_paths_that_exist():
    (tree,) = [block for block in blocks(README.read_text(), "text") if "cifsel/" in block]
    folders: list[str] = []
    lines = tree.splitlines()
    assert len(lines) > 20
    for line in lines:
        name, comment = re.fullmatch(r" *(\S+)  +(\S.*)", line).groups()
        folders[(len(line) - len(line.lstrip())) // 2 :] = [name]
        path = ROOT.joinpath(*folders)
        assert path.is_dir() if name.endswith("/") else path.is_file(), path
        assert comment


def test_readme_names_every_file_and_package_of_the_top():
    (tree,) = [block for block in blocks(README.read_text(), "text") if "cifsel/" in block]
    there = {path.name for path in (ROOT / "cifsel").glob("*.py")} - {"__init__.py"}
    there |= {f"{path.parent.name}/" for path in (ROOT / "cifsel").glob("*/__init__.py")}
    named = set(re.findall(r"^  (\S+)", tree, re.MULTILINE))
    assert there <= named


def test_the_top_is_small_and_so_is_each_file():
    top = ROOT / "cifsel"
    assert len([path for path in top.glob("*.py") if path.name != "__init__.py"]) <= 10
    assert len(list(top.glob("*/__init__.py"))) <= 13
    for folder in ("cifsel", "configs", "experiments"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 300, path


def test_every_package_has_an_api_page():
    packages = {f"cifsel.{path.parent.name}" for path in (ROOT / "cifsel").glob("*/__init__.py")}
    listed = re.findall(
        r"^   (cifsel\S*)$", (ROOT / "docs/api/index.rst").read_text(), re.MULTILINE
    )
    assert set(listed) == packages | {"cifsel"}


def documented_messages() -> list[str]:
    text = TROUBLESHOOTING.read_text().partition("\n## Errors")[2]
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def message_templates() -> set[str]:
    """Every text in the code, with its variable parts as '...'."""
    paths = [*(ROOT / "cifsel").rglob("*.py"), *(ROOT / "configs").glob("*.py")]
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text()))]
    return {template(node) for node in nodes if isinstance(node, ast.Constant | ast.JoinedStr)}


def template(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(template, node.values))
    return str(node.value) if isinstance(node, ast.Constant) else VARIABLE


def holds(text: str, message: str) -> bool:
    """Whether the fixed parts of a message are in a text, in order."""
    position = 0
    for part in message.split(VARIABLE):
        position = text.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return True


@pytest.mark.slow
def test_documented_errors_are_those_of_the_program():
    templates = message_templates()
    messages = documented_messages()
    assert len(messages) > 50
    unknown = [
        message for message in messages if not any(holds(text, message) for text in templates)
    ]
    assert not unknown
