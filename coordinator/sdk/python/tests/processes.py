"""A real coordinator, services and a proxy that loses answers, on loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

START_TIMEOUT_S = 20.0


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def program(name: str) -> str:
    folder = os.environ.get("UNDOUBT_BIN")
    assert folder, "set UNDOUBT_BIN to the folder with the built programs (make build)"
    path = Path(folder) / name
    assert path.exists(), f"{path} is missing: set UNDOUBT_BIN to the folder with the built programs (make build)"
    return str(path)


class Coordinator:
    """`undoubt serve`, which can be killed and started again."""

    def __init__(
        self,
        folder: Path,
        allow: list[str],
        participants: dict[str, str] | None = None,
        topics: list[str] | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder, self._allow, self._participants = folder, allow, participants or {}
        self._topics = topics or []
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        settings = [f"gateway.listen=127.0.0.1:{self.port}", "drain_timeout_ms=500"]
        settings += [f"http.allow={','.join(self._allow)}"] if self._allow else []
        sets = [part for setting in settings for part in ("--set", setting)]
        command = [
            program("undoubt"),
            "serve",
            "--data-dir",
            str(self._folder / "data"),
            "--listen",
            "127.0.0.1:0",
            *sets,
            *(part for name, url in self._participants.items() for part in ("--participant", f"{name}={url}")),
            *(part for topic in self._topics for part in ("--topic", topic)),
        ]
        log = (self._folder / "serve.log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self.wait()

    def wait(self) -> None:
        until = time.monotonic() + START_TIMEOUT_S
        while True:
            assert self._process is not None
            assert self._process.poll() is None, (self._folder / "serve.log").read_text()
            with contextlib.suppress(httpx.TransportError):
                # Only once its participants are connected.
                told = httpx.get(f"{self.url}/v1/participants", timeout=2)
                if told.status_code == 200 and all(one["connected"] for one in told.json()["participants"]):
                    return
            assert time.monotonic() < until, (self._folder / "serve.log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


class Proxy:
    """Stands before the coordinator, and loses the answers that it is told to lose."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._lose = 0
        self.lost = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, answers: int) -> None:
        """Loses so many answers from now on: each request reaches the coordinator."""
        with self._lock:
            self._lose = answers

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    client.close()
                    continue
                for source, target, answers in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._copy, args=(source, target, answers), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if answers and self._loses():
                    break
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _loses(self) -> bool:
        with self._lock:
            if not self._lose:
                return False
            self._lose -= 1
            self.lost += 1
            return True


class Service:
    """A service that notes what it hears. Answers 409 at /refuse, waits at /slow until it is let go, and else 200 with JSON."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.go = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65_536

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                service.heard.append((self.path, self.headers.get("Undoubt-Operation", "")))
                if self.path == "/slow":
                    service.go.wait(20)
                status = 409 if self.path == "/refuse" else 200
                body = b'{"price": 30}'
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()

    def operations(self, path: str) -> list[str]:
        return [operation for at, operation in self.heard if at == path]
