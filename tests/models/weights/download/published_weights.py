"""Weight files as they are published, and a server of them on this machine."""

import http.server
from pathlib import Path

import h5py
import numpy as np
import pytest

from cifsel.errors import UserError
from cifsel.models.weights import download

NAME = "mobilenet_1_0_128_tf_no_top.h5"
ARGS = {"alpha": 1.0, "resolution": 128, "top": False}
DEAD = "http://127.0.0.1:9/"


def weight_file(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv1"]
        kernel = np.random.default_rng(seed).normal(size=(3, 3, 3, 64)).astype(np.float32)
        file["conv1/conv1/kernel:0"] = kernel
    return path


class Server:
    """An HTTP server on this machine: path -> (status, body, length that it claims)."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes, int]] = {}
        self.asked: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                status, body, length = server.answers.get(self.path, (404, b"no", 2))
                self.send_response(status)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"

    def serve(self, name: str, body: bytes, length: int | None = None) -> None:
        self.answers[f"/{name}"] = (200, body, len(body) if length is None else length)


def refused(*words: str, model: str = "mobilenet", **kwargs: object) -> str:
    with pytest.raises(UserError) as error:
        download.find_weights(model, **ARGS | kwargs)  # type: ignore[arg-type] - mixed values
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


def left_in(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.is_file()]
