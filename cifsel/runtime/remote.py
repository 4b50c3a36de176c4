"""Paths on Google Cloud Storage: gs://BUCKET/NAME, which all that a user names may be.

etils.epath reads and writes them like local ones. Wherever TensorFlow is installed it would do so
through that, which takes seconds to import and talks to Google's own servers alone, so that no test
could see it. Here it does so through gcsfs, which the extra `gcs` brings with all else that orbax
needs for gs://. Nothing of it is imported as long as all paths are local.
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

from cifsel.errors import UserError, causes
from cifsel.runtime.paths import expanded

AnyPath: TypeAlias = Path | epath.Path
# How long to wait for an answer before saying that there is none, in seconds.
TIMEOUT = 10

# Whose errors, unless they are caught where they are expected, are those of a connection.
_CLIENTS = {"aiohttp", "gcsfs", "google", "requests", "urllib3"}
_NO_ANSWER = ("UNAVAILABLE", "DEADLINE_EXCEEDED")

# Read by etils and gcsfs when they first need it. The second is about kinds of buckets that are not
# used here, and would ask by gRPC, for up to a minute, what kind each bucket is.
if importlib.util.find_spec("gcsfs"):
    for _name in ("EPATH_USE_TF", "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"):
        os.environ.setdefault(_name, "false")


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL, not one of this machine."""
    return bool(re.match(r"[a-z][a-z0-9+.-]*://", os.fspath(path)))


def reach(given: str | os.PathLike[str]) -> None:
    """Makes sure that a path can be asked for; a local one always can.

    Raises:
      UserError: it is on gs://, and there is no such bucket, no network, no permission to list it,
        or no gcsfs; or it is another kind of URL.
    """
    if not is_remote(given):
        return
    bucket = _bucket(given)
    if importlib.util.find_spec("gcsfs") is None:
        raise UserError(f"{os.fspath(given)}: gs:// needs gcsfs: pip install 'cifsel[gcs]'")
    if problem := _problem(bucket):
        raise UserError(f"{os.fspath(given)} cannot be reached: {problem}")


def reach_as_orbax(given: str | os.PathLike[str]) -> None:
    """Makes sure that orbax can use a path; of a bucket it wants to know more than others do.

    Raises:
      UserError: it cannot.
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
            f"{os.fspath(given)} cannot hold checkpoints ({_one_line(error)}): they need the"
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
    """A path of this machine or on gs://, of which nothing is asked yet.

    Raises:
      UserError: it is another kind of URL.
    """
    if is_remote(given):
        _bucket(given)
    return epath.Path(given)


def path(given: str | os.PathLike[str]) -> AnyPath:
    """A path to read from, of this machine, with '~' expanded, or on gs://.

    Raises:
      UserError: it cannot be reached.
    """
    reach(given)
    return epath.Path(given) if is_remote(given) else Path(expanded(os.fspath(given)))


def absolute(given: AnyPath) -> AnyPath:
    """From the root on; epath would take gs: for a folder here, or, when old, not know how."""
    return given if is_remote(given) else type(given)(Path(given).absolute())


def children(folder: AnyPath) -> Iterator[tuple[str, bool]]:
    """Yields the names in a folder, sorted, and whether each is of a folder; by one request."""

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
      target: a new one; here or there, gs:// or not.
      last: the name of the file that is written last, and so says that the others are there.

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
    """What says, in an error or in what led to it, that gs:// no longer answers; else ''."""
    for one in causes(error):
        client = type(one).__module__.partition(".")[0]
        of_tensorstore = isinstance(one, ValueError) and str(one).startswith(_NO_ANSWER)
        if client in _CLIENTS or of_tensorstore:
            return _one_line(one)
    return ""


@functools.cache
def _problem(bucket: str) -> str:
    """Why a bucket cannot be listed, and what to do; empty if it can be."""
    from google.api_core import exceptions
    from google.auth.exceptions import RefreshError

    try:
        client, without = _client()
        # Once, where everything else would try for a minute and more.
        next(iter(client.list_blobs(bucket, max_results=1, timeout=TIMEOUT, retry=None)), None)
    except exceptions.NotFound:
        return f"there is no bucket {bucket}: check the name, or make it"
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        if without:
            return f"bucket {bucket} is not open to all, and {without}"
        return f"access to bucket {bucket} is denied ({_one_line(error)}): ask its owner for it"
    except RefreshError as error:
        return f"the credentials are refused ({_one_line(error)}): log in again"
    except Exception as error:  # of google-auth, google-api-core and requests
        return f"no answer from Google Cloud Storage ({_one_line(error)}): check the network"
    return ""


@functools.cache
def _client() -> tuple[Any, str]:
    """Who asks for buckets, and why it does so without credentials; empty if it has some."""
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
            without = f"there are no credentials ({_one_line(error)})"
    settings = fsspec.config.conf.setdefault("gcs", {})
    # Left to itself, gcsfs looks for credentials in more places, for a quarter of a minute.
    settings.setdefault("token", "anon" if without else "google_default")
    # What it remembers of a folder may be old, since orbax writes arrays past it.
    settings.setdefault("use_listings_cache", False)
    return storage.Client(project=None, credentials=who), without


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"...{text[-200:]}"  # The cause comes last.
