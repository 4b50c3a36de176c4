"""Compiled programs that are kept between processes, so that they need not even be traced.

JAX's cache of compiled code is asked with a traced and lowered program. For a deep network, that
takes several times as long as loading its code. Here the key is what a program is made from: the
code of cifsel, the description of the function, the shapes of its arguments, JAX and the machine.

The files are beside JAX's own, in the user's cache, and are trusted like them.
"""

import contextlib
import functools
import hashlib
import inspect
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jaxlib.version
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache

import cifsel

_FOLDER = "executables"
# Of cifsel, with all functions that are traced.
_PACKAGES = ("data", "evaluation", "models", "training")
_MOST_FILES = 100  # the newest, some hundred megabytes
_ENDING = ".executable"
Tree = Any


class Kept:
    """A jitted function whose compiled programs are kept. Called as the function itself.

    Args:
      jitted: the function. It must return the same for equal `about` and equal arguments.
      about: says all that the function was made from, beside the code of cifsel.
      like: an output tree of the same structure as the function's, from its arguments. Leaves may
        be anything.
    """

    def __init__(
        self, jitted: Any, about: str, like: Callable[..., Tree] = lambda *arguments: 0
    ) -> None:
        self._jitted, self._about, self._like = jitted, about, like
        self._programs: dict[Any, Callable[..., Any]] = {}
        self.__wrapped__ = inspect.unwrap(jitted)

    def __call__(self, *arguments: Tree) -> Tree:
        """Calls the program for arguments of these shapes."""
        leaves, structure = jax.tree.flatten(arguments)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            # A jitted function with options of the compiler cannot be inside another one.
            return self.__wrapped__(*arguments)
        key = structure, *((leaf.shape, leaf.dtype) for leaf in leaves)
        if key not in self._programs:
            self._programs[key] = self._program(arguments, key)
        return self._programs[key](*arguments)

    def lower(self, *arguments: Tree) -> Any:
        """Lowers the function, as that of `jax.jit`."""
        return self._jitted.lower(*arguments)

    def _program(self, arguments: tuple[Tree, ...], key: Any) -> Callable[..., Any]:
        """The program that is kept, or a new one."""
        folder = _folder()
        if folder is None:
            return self._jitted
        made_from = f"{self._about} {key} {_surroundings()}"
        if " at 0x" in made_from:  # An address names no object of another process.
            return self._jitted
        file = folder / f"{hashlib.sha256(made_from.encode()).hexdigest()}{_ENDING}"
        trees = jax.tree.structure((arguments, {})), jax.tree.structure(self._like(*arguments))
        with contextlib.suppress(Exception):  # A file that cannot be used is made anew.
            return serialize_executable.deserialize_and_load(file.read_bytes(), *trees)
        began = time.perf_counter()
        lowered = self._jitted.lower(*arguments)
        with _without_cache():
            program = lowered.compile()
        least = jax.config.values["jax_persistent_cache_min_compile_time_secs"]
        if time.perf_counter() - began >= least:
            with contextlib.suppress(Exception):  # It only costs time.
                _write(file, program, trees)
        return program


def kept_shapes(initial: functools.partial[Tree]) -> Tree:
    """The shapes of what a function of a random key returns, as by `jax.eval_shape`.

    Args:
      initial: makes nested dicts of arrays. Its function and the arguments that it has already say
        which.
    """
    folder = _folder()
    if folder is None:
        return jax.eval_shape(initial, jax.random.key(0))
    made_from = f"{initial.func.__qualname__} {initial.args!r} {_surroundings()}"
    file = folder / f"{hashlib.sha256(made_from.encode()).hexdigest()}.shapes.json"
    with contextlib.suppress(Exception):  # A file that cannot be used is made anew.
        return _from_json(json.loads(file.read_text()))
    shapes = jax.eval_shape(initial, jax.random.key(0))
    with contextlib.suppress(OSError):
        _put(file, json.dumps(_to_json(shapes)).encode())
    return shapes


def _to_json(tree: Tree) -> Any:
    if isinstance(tree, Mapping):
        return {name: _to_json(below) for name, below in tree.items()}
    return [tree.dtype.name, *tree.shape]


def _from_json(content: Any) -> Tree:
    if isinstance(content, dict):
        return {name: _from_json(below) for name, below in content.items()}
    dtype, *shape = content
    return jax.ShapeDtypeStruct(tuple(shape), dtype)


@contextlib.contextmanager
def _without_cache() -> Iterator[None]:
    """Has the block compile anew. Code that comes from JAX's cache cannot be written again.

    XLA's CPU backend writes it without a word, and only fails when it runs what it has read.
    """
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
        compilation_cache.reset_cache()


def _write(file: Path, program: Any, trees: tuple[Any, Any]) -> None:
    """Keeps a program, unless it gives another tree than is expected."""
    content, *given = serialize_executable.serialize(program)
    if tuple(given) != trees:
        return
    _put(file, content)


def _put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Other processes see the whole file or none.
    temporary = file.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(file)
    newest_first = sorted(file.parent.iterdir(), key=lambda path: -path.stat().st_mtime)
    for old in newest_first[_MOST_FILES:]:
        old.unlink(missing_ok=True)


def _folder() -> Path | None:
    """The folder of kept programs. None where JAX keeps none, or more than one device computes."""
    given = jax.config.values["jax_compilation_cache_dir"]
    if not given or "://" in given or not jax.config.values["jax_enable_compilation_cache"]:
        return None
    return Path(given) / _FOLDER if jax.device_count() == 1 else None


@functools.cache
def _surroundings() -> str:
    """All beside the function that the code depends on."""
    settings = {
        name: value
        for name, value in jax.config.values.items()
        if "cache" not in name  # Where programs are kept does not change them.
    }
    flags = [f"{name}={os.environ.get(name)}" for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")]
    (device,) = jax.devices()
    versions = jax.__version__, jaxlib.version.__version__, device.client.platform_version
    return f"{_code()} {versions} {device.device_kind} {_processor()} {flags} {settings}"


@functools.cache
def _code() -> str:
    """The hash of cifsel's code that programs are made from."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for file in sorted((Path(cifsel.__file__).parent / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _processor() -> str:
    """The CPU and its instructions. A cache may be shared with other machines."""
    about = platform.machine() + platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        wanted = ("model name", "flags", "Features")
        about += "".join(sorted({line for line in lines if line.startswith(wanted)}))
    return about
