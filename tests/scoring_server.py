"""A small HTTP server on loopback in a model's place, whose answers a test scripts."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import numpy as np

from reconad_plugin.detector.answer import encode_map

THRESHOLD = 0.5


def row_of(picture: bytes, version: str = "1", with_map: bool = False) -> dict[str, Any]:
    """What a version says of a picture: the more bytes, the more anomalous; none is an error."""
    score = len(picture) / 1000
    grid = np.zeros((8, 8), np.float32)
    grid[2:4, 2:4] = score
    if not picture:
        return {
            "pred_score": None, "pred_label": None, "image_threshold": THRESHOLD, "p_value": None,
            "anomaly_map": None, "model_version": version, "error": "empty: no bytes",
        }  # fmt: skip
    return {
        "pred_score": score, "pred_label": score > THRESHOLD, "image_threshold": THRESHOLD,
        "p_value": 0.1, "anomaly_map": encode_map(grid, THRESHOLD) if with_map else None,
        "model_version": version, "error": None, "regions_found": {"count": 0, "regions": []},
    }  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """One answer: a status with headers and text; None cuts the connection."""

    status: int | None
    text: str = "{}"
    headers: dict[str, str] = field(default_factory=dict)


Answer = Callable[[list[bytes], bool], Reply]


def predictions(version: str = "1") -> Answer:
    """Answers each picture as a version does."""

    def answer(pictures: list[bytes], with_map: bool) -> Reply:
        rows = [row_of(each, version, with_map) for each in pictures]
        return Reply(200, json.dumps({"predictions": rows}))

    return answer


@dataclass
class Server:
    """What was asked of the server, and what it answers: each answer once, the last for ever."""

    url: str
    answers: list[Answer | Reply]
    asked: list[list[bytes]] = field(default_factory=list)  # pictures of each request
    headers: list[dict[str, str]] = field(default_factory=list)  # of each request
    paths: list[str] = field(default_factory=list)  # of each request

    def next(self) -> Answer | Reply:
        """The answer to the next request."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def serving(*answers: Answer | Reply) -> Iterator[Server]:
    """A server with these answers, one after the other."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            pictures = [base64.b64decode(each["image"]) for each in body["dataframe_records"]]
            server.asked.append(pictures)
            server.headers.append(dict(self.headers))
            server.paths.append(self.path)
            reply = server.next()
            if not isinstance(reply, Reply):
                reply = reply(pictures, body["params"]["anomaly_map"])
            if reply.status is None:
                self.close_connection = True
                return
            content = reply.text.encode()
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *values: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{listening.server_port}", list(answers))
    thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
