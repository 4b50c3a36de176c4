"""Keeps other sites, strangers and large requests away from the page.

Gradio answers to whoever reaches its port. A site that the user has open in the same browser could
reach it too, under its own name if it lets that name point to this machine (DNS rebinding). Gradio
also has many more routes than this page needs. So this stands before it, and lets through what the
page itself asks for.
"""

import asyncio
import base64
import binascii
import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Any

# An upload is one file, of as many bytes as the reader of photos takes, and the form around it.
MOST_UPLOAD_BYTES = 201_000_000
MOST_BYTES = 8_000_000
_WRONG_PASSWORD_SECONDS = 1.0

_READ = re.compile(
    r"/|/(assets|static|photo|report|export)/[\w./~@+-]+|/theme\.css|/favicon\.ico|/manifest\.json"
    r"|/config|/gradio_api/(info|startup-events|queue/data|user|app_id|heartbeat/\w+"
    r"|upload_progress|call/answer/\w+)"
)
_HOST = re.compile(r"(\[[\da-f:.]+\]|[\w.-]+)(:\d{1,5})?", re.ASCII)
_WRITE = re.compile(r"/gradio_api/(queue/join|upload|reset|cancel|call/answer)")

# The page is allowed its own files alone. Gradio makes functions of texts, and styles elements.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self'"
    " 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob: mediastream:; font-src"
    " 'self' data:; connect-src 'self'; frame-src 'self'; worker-src 'self' blob:; object-src"
    " 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}


def own_names(host: str, name: str) -> frozenset[str]:
    """The names by which the page may be asked for, besides the addresses of this machine.

    Args:
      host: that the page listens on.
      name: by which a proxy passes requests on. '' for none.
    """
    names = {"localhost"}
    if not is_loopback(host):
        machine = socket.gethostname().lower()
        names |= {machine, f"{machine.partition('.')[0]}.local", socket.getfqdn().lower()}
    return frozenset(names | ({name.lower()} if name else set()))


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """An ASGI application around another one.

    Args:
      app: the other one.
      names: as `own_names` gives them.
      local: only this machine reaches the page.
      password: that is asked for. '' for none.
    """

    def __init__(self, app: Any, names: Iterable[str], *, local: bool, password: str) -> None:
        self._app, self._names, self._local = app, frozenset(names), local
        self._password = password.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers a request by itself, or has it answered."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # The page needs no web sockets.
        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        texts = {name: value.decode("latin-1") for name, value in headers.items()}
        status, reason = self._refusal(scope["method"], scope["path"], texts)
        if not status and self._password and not self._knows_password(texts):
            status, reason = 401, "give the password; the name does not matter"
            if "authorization" in texts:
                await asyncio.sleep(_WRONG_PASSWORD_SECONDS)
        if status:
            await _refuse(send, status, reason)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                added = {name.encode(): value.encode() for name, value in HEADERS.items()}
                more = [pair for pair in added.items() if pair[0] not in given]
                message = message | {"headers": [*message["headers"], *more]}
            await send(message)

        await self._app(scope, receive, with_headers)

    def _refusal(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """The status and the reason for which a request is refused. 0 for none."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_own(host):
            return 403, "this is not a name of this page: open the address that it printed"
        # A link on another site may lead to the page. It may not do or embed anything.
        arrives = method == "GET" and headers.get("sec-fetch-mode") == "navigate" and path == "/"
        embeds = headers.get("sec-fetch-dest", "document") != "document"
        elsewhere = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        is_foreign = origin is not None and _place(origin) != host.lower()
        if is_foreign or (elsewhere and (embeds or not arrives)):
            return 403, "another site may not ask this page"
        if method in ("GET", "HEAD"):
            return (0, "") if _READ.fullmatch(path) and ".." not in path else (404, "not found")
        if method != "POST" or not _WRITE.fullmatch(path):
            return 404, "not found"
        return _size_refusal(path, headers)

    def _is_own(self, host: str) -> bool:
        """Whether a request is meant for this page, and not for a site that leads here."""
        match = _HOST.fullmatch(host.lower())
        name = match[1].strip("[]") if match else ""
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # A site has a name, so that an address cannot be another site's.
        return address.is_loopback or not self._local

    def _knows_password(self, headers: dict[str, str]) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        try:
            _, _, password = base64.b64decode(given, validate=True).partition(b":")
        except binascii.Error:
            return False
        return kind.lower() == "basic" and hmac.compare_digest(password, self._password)


def _size_refusal(path: str, headers: dict[str, str]) -> tuple[int, str]:
    length = headers.get("content-length", "")
    if not length.isdecimal() or "transfer-encoding" in headers:
        return 411, "say how long the request is"
    most = MOST_UPLOAD_BYTES if path.endswith("/upload") else MOST_BYTES
    return (413, f"expected {most / 1e6:.0f} MB at most") if int(length[:12]) > most else (0, "")


def _place(origin: str) -> str:
    """The host and port of an origin. '' for none, as of a page in a sandbox."""
    return origin.partition("://")[2].lower()


async def _refuse(send: Any, status: int, reason: str) -> None:
    body = f"{reason}\n".encode()
    headers = HEADERS | {"content-type": "text/plain", "content-length": f"{len(body)}"}
    headers |= {"connection": "close"}
    if status == 401:
        headers["www-authenticate"] = 'Basic realm="cifsel", charset="UTF-8"'
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
