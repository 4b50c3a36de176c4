"""Google Cloud Storage on this machine: the emulator of PyPI, and what it lacks.

It gives no generation of an object that is downloaded, and takes no conditions on generations.
Tensorstore needs both, to see that nobody else has written meanwhile. Two buckets are closed, so
that there is something to be refused.
"""

import functools
import logging
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import HTTPServer
from typing import Any

from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.storage import Storage

# One to work in, one that nobody may use, one whose objects may be used but not its description.
OPEN, FORBIDDEN, UNDESCRIBED = "bucket", "forbidden", "undescribed"
NONE = "0"  # the generation of what is not there
Handler = Callable[[Any, Any, Storage], None]


def like_google(handler: Handler) -> Handler:
    """Makes a handler of the emulator answer as Google does."""

    def handle(request: Any, response: Any, storage: Storage) -> None:
        bucket, query = request.params.get("bucket_name"), request.query
        now = _generation(request, storage)
        _ = request.data  # Unread, it would be taken for the next request.
        if bucket == FORBIDDEN or (bucket == UNDESCRIBED and handler is buckets.get):
            forbid(request, response, storage)
        elif query.get("ifGenerationMatch", [now]) != [now]:
            response.status = HTTPStatus.PRECONDITION_FAILED
        elif now != NONE and query.get("ifGenerationNotMatch") == [now]:
            response.status = HTTPStatus.NOT_MODIFIED
        else:
            handler(request, response, storage)
            if request.method == "GET" and now != NONE:
                response["x-goog-generation"] = now

    return handle


def forbid(request: Any, response: Any, storage: Storage) -> None:
    """A handler that refuses."""
    _ = request.data  # Unread, it would be taken for the next request.
    response.status = HTTPStatus.FORBIDDEN
    response.json({"error": {"code": 403, "message": "no permission to do that"}})


def _generation(request: Any, storage: Storage) -> str:
    name = request.params.get("object_id") or request.query.get("name", [""])[0]
    try:
        return storage.get_file_obj(request.params.get("bucket_name"), name)["generation"]
    except NotFound:
        return NONE


# A missing object is no error here.
logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)


class Server(HTTPServer):
    """In a thread of this process, with everything in memory. A context manager."""

    request_queue_size = 100  # Tensorstore asks for much at once.

    def __init__(self) -> None:
        self.storage = Storage(use_memory_fs=True)
        super().__init__(("127.0.0.1", 0), functools.partial(server.RequestHandler, self.storage))
        for bucket in (OPEN, FORBIDDEN, UNDESCRIBED):
            buckets.create_bucket(bucket, self.storage)
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Says nothing: clients may hang up as they like."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def names(self, prefix: str = "") -> list[str]:
        """Objects in the open bucket."""
        names = list(self.storage.objects.get(OPEN, {}))
        return sorted(name for name in names if name.startswith(prefix))


for _, handlers in server.HANDLERS:
    handlers.update({method: like_google(handler) for method, handler in handlers.items()})
