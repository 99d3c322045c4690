"""A visitor's browser: one cookie jar, redirects, CSRF, and a line that is sometimes cut after sending."""

import http.client
import json
import random
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from tests.bots.page import Page


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    address: str

    def page(self) -> Page:
        return Page.read(self.body.decode(), self.address)

    def data(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass
class Line:
    """The line of a whole crowd: how often it is cut, and what went over it. `answers` are seconds an answer."""

    cut: float = 0.0
    requests: int = 0
    cuts: int = 0
    doubles: int = 0
    answers: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  # answers of 5xx
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, **numbers: int) -> None:
        with self.lock:
            for name, number in numbers.items():
                setattr(self, name, getattr(self, name) + number)


class Browser:
    def __init__(self, server: str, line: Line | None = None, seed: str = "") -> None:
        parts = urlsplit(server)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.line = line or Line()
        self.rng = random.Random(seed)
        self.cookies: dict[str, str] = {}
        self.lock = threading.Lock()

    # --- one request ------------------------------------------------------------------------------------------------

    def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, *, may_cut: bool = True
    ) -> Reply:
        """One request, answered. Where the line is cut the server has it already; the same one is sent again."""
        while may_cut and self.rng.random() < self.line.cut:
            self._once(method, path, body, headers or {}, cut=True)
            self.line.count(cuts=1)
            time.sleep(self.rng.random() * 0.03)
        reply = self._once(method, path, body, headers or {})
        assert reply is not None
        if reply.status >= 500:
            with self.line.lock:
                self.line.failures.append(f"{method} {path}: {reply.status}")
        return reply

    def _once(self, method: str, path: str, body: bytes, headers: dict[str, str], *, cut: bool = False) -> Reply | None:
        self.line.count(requests=1)
        with self.lock:
            cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        try:
            connection.request(method, path, body or None, headers | ({"Cookie": cookie} if cookie else {}))
            if cut:
                return None
            answer = connection.getresponse()
            data = answer.read()
            for value in answer.headers.get_all("Set-Cookie") or []:
                self._keep(value)
            return Reply(answer.status, dict(answer.headers), data, path)
        finally:
            connection.close()

    def _keep(self, header: str) -> None:
        with self.lock:
            for name, morsel in SimpleCookie(header).items():
                if morsel["max-age"] == "0" or morsel.value == "":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value

    # --- what a person does -----------------------------------------------------------------------------------------

    def get(self, path: str) -> Reply:
        return self._follow(self.send("GET", path), path)

    def post(self, path: str, values: dict[str, str], *, may_cut: bool = True) -> Reply:
        """A form, sent and followed."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._follow(self.send("POST", path, urlencode(values).encode(), headers, may_cut=may_cut), path)

    def _follow(self, reply: Reply, path: str) -> Reply:
        for _ in range(10):
            if reply.status not in (301, 302, 303):
                return reply
            path = urljoin(path, reply.headers["Location"])
            parts = urlsplit(path)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            reply = self.send("GET", path)
        raise AssertionError(f"Redirected in a circle: {path}")

    def multipart(
        self, path: str, csrf: str, parts: dict[str, Any], drawing: bytes | None = None, *, method: str = "POST"
    ) -> Reply:
        """What the page's script sends: values as text, objects as JSON, the drawing as a file."""
        body, kind = encoded(parts, drawing)
        headers = {"Content-Type": kind, "X-CSRFToken": csrf, "Accept": "application/json"}
        if not csrf:
            headers.pop("X-CSRFToken")
        return self.send(method, path, body, headers)

    def twice(self, path: str, csrf: str, parts: dict[str, Any], drawing: bytes | None = None) -> list[Reply]:
        """The same from two threads at one moment."""
        start = threading.Barrier(2)
        replies: list[Any] = [None, None]

        def work(index: int) -> None:
            start.wait()
            try:
                replies[index] = self.multipart(path, csrf, parts, drawing)
            except Exception as error:
                replies[index] = error

        threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.line.count(doubles=1)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies


def encoded(parts: dict[str, Any], drawing: bytes | None) -> tuple[bytes, str]:
    """multipart/form-data and its Content-Type. None is left out, as the page's script leaves it out."""
    edge = uuid.uuid4().hex
    lines = []
    for name, value in parts.items():
        if value is None:
            continue
        text = json.dumps(value) if isinstance(value, dict | list) else str(value)
        lines.append(f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode())
    if drawing is not None:
        head = 'Content-Disposition: form-data; name="drawing"; filename="drawing.png"\r\nContent-Type: image/png'
        lines.append(f"--{edge}\r\n{head}\r\n\r\n".encode() + drawing + b"\r\n")
    return b"".join(lines) + f"--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}"
