"""The whole application by HTTP: Gradio behind the guard."""

import asyncio
import base64
import json
import secrets
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from serving import running

from cifsel.errors import UserError
from cifsel.web import projects, server

pytestmark = [pytest.mark.slow, pytest.mark.process]  # Gradio takes seconds to import.
SECRET = "the secret of this machine"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A page that runs: its address, and the folders for uploads and projects."""
    pytest.importorskip("uvicorn", reason="the page: pip install 'cifsel[web]'")
    work = tmp_path_factory.mktemp("work")
    with running(work) as (address, uploads):
        yield Site(address, uploads, work)


class Site:
    """A page that runs, as a browser asks it.

    Attributes:
      uploads: the folder for uploads.
      work: the folder of the projects.
    """

    def __init__(self, address, uploads, work):
        self.uploads, self.work = uploads, work
        self._address, self._events = address, None

    def get(self, path, content=None, **headers):
        """Returns status, content and headers of an answer."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{self._address}{path}", content, given)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers

    def upload(self, name, content):
        """Sends a file as a browser does; returns status and answer."""
        head = f'--X\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + b"\r\n--X--\r\n"
        kind = "multipart/form-data; boundary=X"
        status, answer, _ = self.get("/gradio_api/upload", body, content_type=kind)
        return status, answer.decode()

    def join(self, event, data, event_data=None):
        """Enters an event into the queue; returns status, answer and the session."""
        if self._events is None:
            config = json.loads(self.get("/config")[1])
            self._events = {
                target[1]: (dependency["id"], len(dependency["inputs"]))
                for dependency in config["dependencies"]
                for target in dependency["targets"]
            }
        number, inputs = self._events[event]
        session = secrets.token_hex(6)
        body = {"data": data[:inputs], "event_data": event_data, "fn_index": number}
        body |= {"session_hash": session, "trigger_id": None}
        content = json.dumps(body).encode()
        status, answer, _ = self.get(
            "/gradio_api/queue/join", content, content_type="application/json"
        )
        return status, answer.decode(), session

    def event(self, event, data, event_data=None):
        """Returns the outcome of an event: whether it succeeded, and its output."""
        status, _, session = self.join(event, data, event_data)
        assert status == 200
        _, answer, _ = self.get(f"/gradio_api/queue/data?session_hash={session}")
        said = [
            json.loads(line[6:]) for line in answer.decode().splitlines() if line[:5] == "data:"
        ]
        (done,) = [message for message in said if message["msg"] == "process_completed"]
        return done["success"], done["output"]


def picture(jpegs):
    return "data:image/jpeg;base64," + base64.b64encode(jpegs["sad"][0]).decode()


def test_the_page_is_served_and_asks_for_nothing_elsewhere(site):
    status, content, headers = site.get("/")
    assert status == 200
    assert "connect-src 'self'" in headers["content-security-policy"]
    config = json.loads(site.get("/config")[1])
    assert config["analytics_enabled"] is False
    assert b"Tell your photos apart" in content
    assert site.get("/", host="evil.example")[0] == 403
    assert site.get("/gradio_api/queue/join", b"{}", origin="https://evil.example")[0] == 403


def test_photos_are_kept_in_the_project_of_their_visitor(site, jpegs):
    first, second = projects.new_id(), projects.new_id()
    data = {"class": "sad", "image": picture(jpegs)}
    succeeded, output = site.event("shot", [first], data)
    assert succeeded
    assert "1 photo" in output["data"][0]
    (photo,) = (site.work / first / "photos" / "sad").iterdir()
    assert not (site.work / second).exists()
    status, thumbnail, headers = site.get(f"/photo/{first}/{photo.name}")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert thumbnail[:2] == b"\xff\xd8"
    assert site.get(f"/photo/{second}/{photo.name}")[0] == 404
    succeeded, output = site.event("erase", [first], {"photo": photo.name})
    assert "0 photos" in output["data"][0]
    assert site.get(f"/photo/{first}/{photo.name}")[0] == 404


def test_a_report_is_of_its_project_and_has_no_rights(site):
    name = projects.new_id()
    run = site.work / name / "runs" / "1"
    (site.work / name / "photos").mkdir(parents=True)
    run.mkdir(parents=True)
    (run / "report.html").write_text("<p>report")
    assert site.get(f"/report/{name}/1")[0] == 404  # It is not finished.
    (run / "metrics.json").write_text("{}")
    status, content, headers = site.get(f"/report/{name}/1")
    assert (status, content) == (200, b"<p>report")
    assert headers.get_all("content-security-policy") == [routes_policy()]
    assert site.get(f"/report/{name}/1?download")[2]["content-disposition"].startswith("attachment")
    for other in (f"{name}/2", f"{name}/..", f"{projects.new_id()}/1", "x/1"):
        assert site.get(f"/report/{other}")[0] == 404
    (run / "exports").mkdir()
    (run / "exports" / "model.onnx").write_text("model")
    assert site.get(f"/export/{name}/1/model.onnx")[1] == b"model"
    for other in ("model.keras", "../metrics.json", "metrics.json", "model.onnx.exe"):
        assert site.get(f"/export/{name}/1/{other}")[0] == 404


def routes_policy():
    from cifsel.web import routes

    assert routes._REPORT_POLICY.endswith("sandbox")
    return routes._REPORT_POLICY


def test_uploads_are_limited_and_stay_in_their_folder(site):
    assert site.upload("big.jpg", bytes(100_001))[0] == 413
    status, answer = site.upload("../../../../x.jpg", b"content")
    assert status == 200
    (path,) = json.loads(answer)
    assert site.uploads in Path(path).resolve().parents
    assert site.get(f"/gradio_api/file={path}")[0] == 404


@pytest.mark.parametrize("path", ["FILE", "http://127.0.0.1:9/x", "https://example.org/x.jpg"])
def test_no_file_and_no_address_is_taken_for_an_upload(site, tmp_path, path):
    (tmp_path / "secret.txt").write_text(SECRET)
    path = str(tmp_path / "secret.txt") if path == "FILE" else path
    given = {"path": path, "meta": {"_type": "gradio.FileData"}}
    succeeded, output = site.event("erase", [given], {"photo": "x"})
    assert not succeeded
    assert SECRET not in json.dumps(output)
    assert not any(SECRET in file.read_text(errors="replace") for file in files(site.uploads))


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_nothing_is_fetched_from_the_network():
    with pytest.raises(UserError, match="fetches nothing"):
        asyncio.run(server._fetch_nothing("https://example.org", ""))


def test_programs_are_offered_one_function(site, jpegs):
    info = json.loads(site.get("/gradio_api/info")[1])
    assert list(info["named_endpoints"]) == ["/answer"]
    body = json.dumps({"data": [picture(jpegs), projects.new_id()]}).encode()
    kind = {"content_type": "application/json"}
    event = json.loads(site.get("/gradio_api/call/answer", body, **kind)[1])["event_id"]
    said = site.get(f"/gradio_api/call/answer/{event}")[1].decode()
    assert "collect photos and train one first" in said


def test_the_queue_does_not_grow_without_end(site):
    # Four are at work, six wait, and some may be on their way from the one to the other.
    answers = [site.join("more", [projects.new_id()], {"slow": True}) for _ in range(20)]
    refused = [answer for status, answer, _ in answers if status != 200]
    assert refused
    assert all("full" in answer for answer in refused)
