"""Paths on Google Cloud Storage, gs://BUCKET/NAME. Every path that a user gives may be one.

etils.epath reads and writes them like local paths. Where TensorFlow is installed, epath would use
it. TensorFlow takes seconds to import and reaches no server but Google's, not even one of a test.
So this module makes epath use gcsfs, which the extra `gcs` installs together with the client that
orbax needs. As long as all paths are local, neither is imported.

No request waits longer than `TIMEOUT` for its first answer.
"""

import functools
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeAlias
from urllib.parse import urlsplit

from etils import epath

from cifsel.errors import UserError, causes, one_line
from cifsel.runtime.paths import expanded

AnyPath: TypeAlias = Path | epath.Path
TIMEOUT = 10  # seconds to wait for an answer

# Packages whose exceptions mean a lost connection, unless they are caught where they are expected.
_CLIENTS = {"aiohttp", "gcsfs", "google", "requests", "urllib3"}
_NO_ANSWER = ("UNAVAILABLE", "DEADLINE_EXCEEDED")

# etils and gcsfs read these when they first need them. With the second, gcsfs does not ask by gRPC,
# for up to a minute, whether a bucket is of a kind that is not used here.
if importlib.util.find_spec("gcsfs"):
    for _name in ("EPATH_USE_TF", "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"):
        os.environ.setdefault(_name, "false")


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL, not one of this machine."""
    return bool(re.match(r"[a-z][a-z0-9+.-]*://", os.fspath(path)))


def reach(given: str | os.PathLike[str]) -> None:
    """Makes sure that the bucket of a path on gs:// answers. A local path always passes.

    Raises:
      UserError: there is no such bucket, no network, no permission to list it, or no gcsfs. Or the
        path is another kind of URL.
    """
    if not is_remote(given):
        return
    bucket = _bucket(given)
    if importlib.util.find_spec("gcsfs") is None:
        raise UserError(f"{os.fspath(given)}: gs:// needs gcsfs: pip install 'cifsel[gcs]'")
    if problem := _problem(bucket):
        raise UserError(f"{os.fspath(given)} cannot be reached: {problem}")


def reach_as_orbax(given: str | os.PathLike[str]) -> None:
    """Makes sure that orbax can use a path. It needs a permission of a bucket that others do not.

    Raises:
      UserError: orbax cannot use it, or it cannot be reached.
    """
    if not is_remote(given):
        return
    reach(given)
    from google.cloud import storage

    try:
        bucket = urlsplit(os.fspath(given)).netloc
        storage.Client().get_bucket(bucket, timeout=TIMEOUT, retry=None)
    except Exception as error:  # of google-auth, google-api-core and requests
        raise UserError(
            f"{os.fspath(given)} cannot hold checkpoints ({one_line(error)}): they need the"
            " permission storage.buckets.get, and GOOGLE_CLOUD_PROJECT where nothing else names a"
            " project"
        ) from error


def _bucket(given: str | os.PathLike[str]) -> str:
    try:
        parts = urlsplit(os.fspath(given))
    except ValueError:  # of brackets, which IPv6 has
        parts = urlsplit("")
    if parts.scheme != "gs" or not parts.netloc:
        raise UserError(f"{os.fspath(given)} is neither a local path nor gs://BUCKET/NAME")
    return parts.netloc


def place(given: str | os.PathLike[str]) -> epath.Path:
    """A path of this machine, with '~' expanded, or on gs://. It may not exist.

    Nothing is asked of gs://.

    Raises:
      UserError: it is another kind of URL.
    """
    if is_remote(given):
        _bucket(given)
    return epath.Path(expanded(os.fspath(given)))


def path(given: str | os.PathLike[str]) -> AnyPath:
    """A path to read from, of this machine, with '~' expanded, or on gs://.

    Raises:
      UserError: it cannot be reached.
    """
    reach(given)
    return epath.Path(given) if is_remote(given) else Path(expanded(os.fspath(given)))


def absolute(given: AnyPath) -> AnyPath:
    """The absolute path. epath would take gs: for a local folder, or cannot do it when old."""
    return given if is_remote(given) else type(given)(Path(given).absolute())


def children(folder: AnyPath) -> Iterator[tuple[str, bool]]:
    """Yields each name in a folder, sorted, and whether it is a folder. Takes one request."""

    def fail(error: OSError) -> NoReturn:
        raise error

    _, folders, files = next(epath.Path(folder).walk(on_error=fail))
    # Google's console marks a new folder by an empty file without a name of its own.
    names = dict.fromkeys(folders, True) | {name: False for name in files if name}
    yield from sorted(names.items())


def copy(source: epath.Path, target: epath.Path, *, last: str) -> bool:
    """Copies the files of a folder.

    Args:
      source: the folder.
      target: a new folder.
      last: the name of the file that is written last. If it is there, all others are.

    Returns:
      Whether the folder has that file; nothing is copied if not.
    """
    if not (source / last).exists():
        return False
    target.mkdir(parents=True, exist_ok=True)
    names = [name for name, is_folder in children(source) if not is_folder]
    for name in sorted(names, key=lambda name: name == last):
        (target / name).write_bytes((source / name).read_bytes())
    return True


def lost(error: BaseException | None) -> str:
    """The message, of an error or its causes, that gs:// no longer answers. '' if there is none."""
    for cause in causes(error):
        package = type(cause).__module__.partition(".")[0]
        of_tensorstore = isinstance(cause, ValueError) and str(cause).startswith(_NO_ANSWER)
        if package in _CLIENTS or of_tensorstore:
            return one_line(cause)
    return ""


@functools.cache
def _problem(bucket: str) -> str:
    """Says why a bucket cannot be listed, and what to do. '' if it can be."""
    from google.api_core import exceptions
    from google.auth.exceptions import RefreshError

    try:
        client, without = _client()
        # Asks once. Left to itself, the client would try for a minute and more.
        next(iter(client.list_blobs(bucket, max_results=1, timeout=TIMEOUT, retry=None)), None)
    except exceptions.NotFound:
        return f"there is no bucket {bucket}: check the name, or make it"
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        if without:
            return f"bucket {bucket} is not open to all, and {without}"
        return f"access to bucket {bucket} is denied ({one_line(error)}): ask its owner for it"
    except RefreshError as error:
        return f"the credentials are refused ({one_line(error)}): log in again"
    except Exception as error:  # of google-auth, google-api-core and requests
        return f"no answer from Google Cloud Storage ({one_line(error)}): check the network"
    return ""


@functools.cache
def _client() -> tuple[Any, str]:
    """The client that asks for buckets, and why it has no credentials. '' if it has some."""
    import fsspec
    from google.auth import credentials, default
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud import storage

    who: Any = credentials.AnonymousCredentials()
    without = "an emulator is asked without credentials"
    if not os.environ.get("STORAGE_EMULATOR_HOST"):
        try:
            who, without = default()[0], ""
        except DefaultCredentialsError as error:
            without = f"there are no credentials ({one_line(error)})"
    settings = fsspec.config.conf.setdefault("gcs", {})
    # Left to itself, gcsfs looks for credentials in more places, for a quarter of a minute.
    settings.setdefault("token", "anon" if without else "google_default")
    # Its cache of a folder may be old, since orbax writes arrays without gcsfs.
    settings.setdefault("use_listings_cache", False)
    return storage.Client(project=None, credentials=who), without
