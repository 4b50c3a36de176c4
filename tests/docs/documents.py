"""The documents of the project: their code blocks, commands, links and prose."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(r"^ *```([^\n`]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_INLINE_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
# The number of a job of a cluster, for which any number may stand.
_JOB_NUMBER = re.compile(r"\$SLURM_ARRAY_TASK_ID|\$\(\(JOB_COMPLETION_INDEX \+ 1\)\)")
_BETWEEN_COMMANDS = {"&&", "||", "|", ";"}


class Command(NamedTuple):
    """One shell command of a document, split into words, without variables set in front of it."""

    document: str
    words: tuple[str, ...]


def blocks(text: str, language: str) -> list[str]:
    """The contents of the fenced blocks in a language."""
    return [content for name, content in _BLOCK.findall(text) if name == language]


def commands(document: Path) -> Iterator[Command]:
    """Yields the commands in the shell blocks and Kubernetes jobs of a document."""
    text = document.read_text()
    for block in [*blocks(text, "bash"), *map(_of_job, blocks(text, "yaml"))]:
        for line in _JOB_NUMBER.sub("3", block).replace("\\\n", " ").splitlines():
            words: list[str] = []
            for word in [*shlex.split(line, comments=True), ";"]:
                if word not in _BETWEEN_COMMANDS:
                    words.append(word)
                elif words:
                    yield Command(document.name, _without_variables(words))
                    words = []


def _of_job(manifest: str) -> str:
    """The shell command of a Kubernetes job with one container."""
    (container,) = yaml.safe_load(manifest)["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["bash", "-c"]
    (command,) = container["args"]
    return command


def _without_variables(words: list[str]) -> tuple[str, ...]:
    first = next(i for i, word in enumerate(words) if not re.match(r"[A-Z_]+=", word))
    return tuple(words[first:])


def without_code(text: str) -> str:
    """The text without comments, fenced blocks, and inline code, which becomes the word 'code'."""
    return _INLINE_CODE.sub("code", _BLOCK.sub("", _COMMENT.sub("", text)))


def links(document: Path) -> list[str]:
    """Targets of the links and images of a document that are no URLs."""
    text = _BLOCK.sub("", document.read_text())
    return [target for _, target in _LINK.findall(text) if "://" not in target]


def anchors(document: Path) -> set[str]:
    """The ids of a document's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", document.read_text()), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


def sentences(document: Path) -> list[str]:
    """The sentences of the paragraphs and lists, without headings and tables."""
    text = _LINK.sub(r"\1", without_code(document.read_text()))
    kept = [line for line in text.splitlines() if not re.match(r"#|\||!|\s*\[?!", line)]
    # A list item begins a paragraph of its own.
    paragraphs = re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.) ", "\n".join(kept))
    found = []
    for paragraph in paragraphs:
        found += re.split(r"(?<=[.!?:])\s+", " ".join(paragraph.split()))
    return [sentence for sentence in found if re.search(r"\w", sentence)]
