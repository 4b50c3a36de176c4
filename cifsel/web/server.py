"""Serves the page: Gradio behind the guard, on a port of this machine."""

import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cifsel.errors import UserError, one_line
from cifsel.runtime import ending
from cifsel.runtime.signals import Interrupted
from cifsel.web import guard
from cifsel.web.visits import Visits

# The largest file of the reader of photos.
MOST_FILE_BYTES = 200_000_000
_MOST_REQUESTS = 200  # at the same time
_GRACE = 1  # seconds for requests that are under way at the end


@contextlib.contextmanager
def uploads() -> Iterator[Path]:
    """A folder for uploaded files that nobody else can read. It goes with the page.

    Gradio is told of it, and to ask nothing of the network. Both must come before its import.
    """
    with tempfile.TemporaryDirectory(prefix="cifsel-web-") as folder:
        os.environ |= {
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": folder,
            "GRADIO_RUN_HISTORY": "False",
            "GRADIO_MCP_SERVER": "False",
            "GRADIO_SSR_MODE": "False",
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        yield Path(folder).resolve()


def application(visits: Visits, *, host: str, name: str, password: str) -> Any:
    """The ASGI application of the page.

    Args:
      visits: what it does.
      host: that it listens on.
      name: by which a proxy passes requests on. '' for none.
      password: that is asked for. '' for none.

    Raises:
      UserError: Gradio is not installed.
    """
    try:
        import gradio
        from fastapi import FastAPI
        from gradio import processing_utils
    except ModuleNotFoundError as error:
        raise UserError(
            f"the page needs {error.name}, which is not installed: pip install 'cifsel[web]'"
        ) from None
    from cifsel.web import page, routes

    # A request may name an address in the place of a file, which Gradio would fetch.
    processing_utils.async_ssrf_protected_download = _fetch_nothing
    processing_utils.async_ssrf_protected_get = _fetch_nothing
    blocks = page.build(visits)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    routes.add(app, visits)
    gradio.mount_gradio_app(
        app,
        blocks,
        path="",
        allowed_paths=[],
        blocked_paths=[os.sep],
        max_file_size=MOST_FILE_BYTES,
        show_error=False,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        theme=page.theme(),
        css=page.css(),
    )
    # Else a request may name any file of this machine in the place of an upload.
    blocks.has_launched = True
    names = guard.own_names(host, name)
    return guard.Guard(app, names, local=guard.is_loopback(host), password=password)


async def _fetch_nothing(*_: Any, **__: Any) -> Any:
    raise UserError("this page fetches nothing from the network")


def listen(host: str, port: int) -> socket.socket:
    """A socket for the page. Raises UserError if the host or port cannot be used."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=64)
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise UserError(
            f"port {port} of {host} cannot be used ({reason}): give another --port or --host"
        ) from None


def serving(app: Any) -> Any:
    """The uvicorn server of an application. `run(sockets=...)` answers requests."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        # Headers of a proxy would change nothing here, and anybody could send them.
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE,
        limit_concurrency=_MOST_REQUESTS,
    )
    return uvicorn.Server(config)


def serve(app: Any, listener: socket.socket) -> None:
    """Answers requests until Ctrl-C or SIGTERM.

    Raises:
      KeyboardInterrupt: after Ctrl-C.
      Interrupted: after SIGTERM.
    """
    # uvicorn sends itself the signal again at its end.
    signal.signal(signal.SIGTERM, _interrupt)
    serving(app).run(sockets=[listener])


def _interrupt(number: int, _: object) -> None:
    ending.state.handled[number] += 1
    ending.state.ending = True
    raise Interrupted(number)
