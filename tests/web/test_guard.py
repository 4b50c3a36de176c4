"""The guard lets through what the page asks for, and nothing of other sites."""

import asyncio
import base64

import pytest

from cifsel.web import guard
from cifsel.web.guard import Guard

OWN = "127.0.0.1:7860"


async def app(scope, receive, send):
    """Stands in for Gradio."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"reached"})


def ask(path="/", method="GET", host=OWN, *, around=None, **headers):
    """Returns the status and the headers of the answer."""
    around = around or Guard(app, guard.own_names("127.0.0.1", ""), local=True, password="")
    given = {"host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
    said = []

    async def send(message):
        said.append(message)

    asyncio.run(around(scope, None, send))
    names = {name.decode(): value.decode() for name, value in said[0]["headers"]}
    assert names["content-security-policy"].startswith("default-src 'self';")
    assert names["x-content-type-options"] == "nosniff"
    reached = said[1]["body"] == b"reached"
    assert reached == (said[0]["status"] == 200)
    return said[0]["status"]


@pytest.mark.parametrize("host", [OWN, "localhost:7860", "[::1]:7860", "127.0.0.1", "LOCALHOST:1"])
def test_the_page_has_the_names_of_this_machine(host):
    assert ask(host=host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "x@127.0.0.1", "10.0.0.7",
     "localhost.", "127.0.0.1 evil", "[::1", "0.0.0.0:7860"],
)  # fmt: skip
def test_a_site_cannot_let_its_name_lead_here(host):
    assert ask(host=host) == 403


def test_a_page_for_other_machines_has_addresses_and_given_names():
    names = guard.own_names("0.0.0.0", "Photos.example.org")
    public = Guard(app, names, local=False, password="")
    for host in ("192.168.1.7:7860", "photos.example.org", "[fe80::1]:7860", OWN):
        assert ask(host=host, around=public) == 200
    for host in ("evil.example", "example.org"):
        assert ask(host=host, around=public) == 403


POST = {"method": "POST", "path": "/gradio_api/queue/join", "content_length": "10"}


def test_the_page_itself_may_post():
    assert ask(**POST) == 200
    assert ask(**POST, origin=f"http://{OWN}", sec_fetch_site="same-origin") == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "", OWN])
def test_other_sites_cannot_post(origin):
    assert ask(**POST, origin=origin) == 403


def test_other_sites_can_link_to_the_page_and_do_no_more():
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert ask(**link, sec_fetch_dest="document") == 200
    assert ask(**link, sec_fetch_dest="iframe") == 403
    assert ask("/photo/a/b", **link, sec_fetch_dest="document") == 403
    assert ask("/", sec_fetch_site="cross-site", sec_fetch_mode="no-cors") == 403
    assert ask(**POST, sec_fetch_site="cross-site", sec_fetch_mode="navigate") == 403


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=/etc/passwd", "/gradio_api/file/etc/passwd", "/file=x", "/static/../x",
     "/gradio_api/proxy=http://evil.example", "/gradio_api/file=http://evil.example", "/monitoring",
     "/gradio_api/vibe-code", "/gradio_api/deep_link", "/photo/../../etc/passwd", "/docs", "//",
     "/gradio_api/stream/x", "/photo/a/%2e%2e", "/openapi.json", "/gradio_api/runs", "/login"],
)  # fmt: skip
def test_no_other_route_of_gradio_is_reached(path):
    assert ask(path) == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused(method):
    assert ask(method=method) == 404


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        ("/gradio_api/queue/join", "8000000", 200),
        ("/gradio_api/queue/join", "8000001", 413),
        ("/gradio_api/upload", "200000000", 200),
        ("/gradio_api/upload", "201000001", 413),
        ("/gradio_api/upload", "9" * 400, 413),
        ("/gradio_api/upload", "-1", 411),
        ("/gradio_api/upload", "", 411),
        ("/gradio_api/vibe-edit", "1", 404),
        ("/gradio_api/process_recording", "1", 404),
        ("/", "1", 404),
    ],
)
def test_requests_are_of_limited_size(path, length, status):
    assert ask(path, "POST", content_length=length) == status


def test_a_request_says_its_length():
    assert ask(POST["path"], "POST", content_length="1", transfer_encoding="chunked") == 411


def test_web_sockets_are_not_answered():
    around = Guard(app, ["localhost"], local=True, password="")
    assert asyncio.run(around({"type": "websocket"}, None, None)) is None


def basic(text):
    return f"Basic {base64.b64encode(text).decode()}"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (basic(b"me:correct horse"), 200),
        (basic(b":correct horse"), 200),
        (basic(b"me:wrong"), 401),
        (basic(b"correct horse"), 401),
        ("Basic !", 401),
        ("Bearer correct horse", 401),
        (basic("me:correct horsé".encode()), 401),
    ],
)
def test_the_password_is_asked_for(monkeypatch, given, status):
    monkeypatch.setattr(guard, "_WRONG_PASSWORD_SECONDS", 0)
    around = Guard(app, ["localhost"], local=False, password="correct horse")
    assert ask(around=around) == 401
    assert ask("/photo/a/b", around=around) == 401
    assert ask(around=around, authorization=given) == status


def test_loopback():
    assert all(map(guard.is_loopback, ["localhost", "127.0.0.1", "127.1.2.3", "::1"]))
    assert not any(map(guard.is_loopback, ["0.0.0.0", "::", "192.168.1.7", "photos.example.org"]))
