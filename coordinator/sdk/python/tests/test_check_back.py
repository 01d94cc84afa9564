"""A service's own transaction, and what follows it: asked about by a real coordinator when the saga's time is over."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import flask
import pytest

from undoubt import Client, new_id, post
from undoubt.barrier import TooLate, create_table, record, wsgi

from processes import Coordinator


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def file(tmp_path: Path) -> str:
    file = str(tmp_path / "orders.db")
    with closing(sqlite3.connect(file)) as db:
        create_table(db)
    return file


@pytest.fixture
def client(file: str, tmp_path: Path) -> Iterator[tuple[Client, str]]:
    """Returns a client, and the address of a service that is asked."""
    app, handlers = flask.Flask("orders"), wsgi.Handlers(lambda: sqlite3.connect(file))

    @app.post("/committed")
    @handlers.check_back
    def committed() -> None: ...

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        coordinator = Coordinator(tmp_path, [url])
        with Client(coordinator.url) as client:
            yield client, f"{url}/committed"
        coordinator.kill()
        server.shutdown()


@pytest.mark.parametrize("committed", [True, False])
def test_it_ends_as_the_own_transaction(client: tuple[Client, str], file: str, committed: bool) -> None:
    asks, question = client
    key = new_id()
    opened = asks.begin(deadline="500ms", check_back={"at": "http", "ask": post(question)})
    opened.join("mail", at="store", complete=f"put {key} sent")
    # Nobody closes it, as if the service had died then.
    with closing(sqlite3.connect(file)) as db:
        if committed:
            record(db, opened.id)
            db.commit()
        ended = opened.get(wait=10)
        assert ended.state == ("committed" if committed else "aborted")
        with pytest.raises(TooLate):
            record(db, opened.id)
    mail = asks.submit({"branches": {"store": [f"get {key}"]}}).results["store"].values
    assert mail == (["sent"] if committed else [None])
