"""Private database servers on loopback, in temporary folders: `.ci/databases` installs them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from processes import free_port

START_TIMEOUT_S = 60.0
NOT_ROOT = "nobody"
"""PostgreSQL refuses root."""


class Server:
    """A server in a folder of its own, which ends with it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="undoubt-sdk-"))
        self.port = free_port()
        self._user = NOT_ROOT if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user)
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, command: Sequence[str | Path]) -> None:
        done = subprocess.run(command, user=self._user, cwd=self.folder, capture_output=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()

    def start(self, command: Sequence[str | Path], answers: Callable[[], Any]) -> None:
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(command, user=self._user, cwd=self.folder, stdout=log, stderr=log)
        until = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(psycopg.OperationalError, pymysql.err.OperationalError):
                answers()
                return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < until, (self.folder / "log").read_text()
            time.sleep(0.1)

    def end(self) -> None:
        if self._process is not None:
            # PostgreSQL's processes end with their parent, but only if that can tell them.
            self._process.send_signal(signal.SIGQUIT if isinstance(self, Postgres) else signal.SIGKILL)
            self._process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(Server):
    """A private PostgreSQL of the newest version that is installed."""

    def __init__(self) -> None:
        super().__init__()
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
        assert folders, "PostgreSQL is missing: .ci/databases installs it"
        programs, data = folders[-1].parent, self.folder / "data"
        init = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", f"--pgdata={data}"]
        self.run([programs / "initdb", *init])
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
            "fsync": "off",
            "max_prepared_transactions": 30,
        }
        sets = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.start([programs / "postgres", "-D", data, *sets], lambda: psycopg.connect(self.url).close())


class MariaDb(Server):
    """A private MariaDB."""

    def __init__(self) -> None:
        super().__init__()
        server = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
        install = shutil.which("mariadb-install-db")
        missing = "MariaDB is missing: .ci/databases installs it"
        assert server, missing
        assert install, missing
        data, temporary = self.folder / "data", self.folder / "tmp"
        temporary.mkdir()
        if self._user:
            shutil.chown(temporary, self._user)
        options = ["--no-defaults", f"--datadir={data}", f"--tmpdir={temporary}"]
        quick = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        self.run([install, *options, *quick])
        listen = [f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.folder / 'socket'}"]
        more = [
            "--skip-name-resolve",
            "--max-connections=200",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=0",
        ]
        self.start([server, *options, *listen, *more], lambda: self.connect(None).close())
        with self.connect(None) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE services")

    def connect(self, database: str | None = "services") -> pymysql.Connection[Any]:
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", database=database)
