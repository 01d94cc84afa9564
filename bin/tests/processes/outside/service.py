"""Serves hooks that are told events, with a database of its own: each call is one row, known by its idempotency key.

Where a key is odd in its number of calls it hangs up without an answer, with the effect in the database. An order whose name begins with
`refuse` is refused.
"""

import json
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

DATABASE, ADDRESS_FILE, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
db = sqlite3.connect(DATABASE, isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = FULL")
db.execute("CREATE TABLE IF NOT EXISTS call (key TEXT PRIMARY KEY, effect TEXT, operation TEXT, subject TEXT, number INTEGER)")
db.execute("CREATE TABLE IF NOT EXISTS times (key TEXT PRIMARY KEY, times INTEGER)")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key, effect = self.headers["idempotency-key"], self.headers["undoubt-effect"]
        db.execute("INSERT INTO times VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET times = times + 1", [key])
        if body["subject"].startswith("refuse"):
            return self.answer(409, {"why": "no"})
        number = "(SELECT count(*) + 1 FROM call)"
        row = [key, effect, self.headers["undoubt-operation"], body["subject"]]
        db.execute(f"INSERT INTO call VALUES (?, ?, ?, ?, {number}) ON CONFLICT (key) DO NOTHING", row)
        ((times,),) = db.execute("SELECT times FROM times WHERE key = ?", [key])
        ((number,),) = db.execute("SELECT number FROM call WHERE key = ?", [key])
        if number % 5 == 0 and times == 1:
            # It is in effect, and nobody hears of it.
            self.close_connection = True
            return None
        return self.answer(200, {"number": number, "type": self.headers["content-type"]})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", PORT), Handler)
with open(ADDRESS_FILE, "w") as file:
    file.write(f"127.0.0.1:{server.server_address[1]}")
server.serve_forever()
