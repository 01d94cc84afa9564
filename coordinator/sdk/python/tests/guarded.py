"""A service behind the barrier, as a process that tests kill: `python guarded.py PORT DATABASE-URL`.

A handler notes that it was there. At `/fails` it raises or refuses in most of its runs, at `/herd` it raises in a third. The header `x-die` ends
the process: `before` its commit, or just `after` it.
"""

from __future__ import annotations

import os
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from undoubt.barrier import Call, Operation, Refuse, Reply, barrier

from stores import connect, note

LOCK_TIMEOUT_S = 3.0
A_BUG = "a bug"


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65_536
    url = ""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = connect(self.url)
        path, dies, chance = self.path, self.headers.get("x-die"), random.random()

        def work(call: Call) -> dict[str, str]:
            note(connection, call.effect, call.operation.value)
            time.sleep(0.002)
            if path in ("/fails", "/herd") and chance < 0.3:
                raise RuntimeError(A_BUG)
            if path == "/fails" and chance < 0.7 and call.operation is Operation.ACTION:
                raise Refuse("a refusal")
            if dies == "before":
                os._exit(9)
            return {"effect": call.effect, "run": str(random.random())}

        try:
            reply = barrier(connection, dict(self.headers), work, lock_timeout=LOCK_TIMEOUT_S)
        except Exception as error:
            reply = Reply(500, str(error).encode())
        if dies == "after":
            os._exit(9)
        connection.close()
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


if __name__ == "__main__":
    Service.url = sys.argv[2]
    Server(("127.0.0.1", int(sys.argv[1])), Service).serve_forever()
