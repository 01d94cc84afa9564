"""A service that keeps the contract of ../../HTTP.md: it hands out things by name, each to one who asks.

    python3 service.py PORT FILE.db

POST /things {"thing": "7A"} takes it (409 where it is taken); as a compensation it gives it back, as a completion it keeps it for good.
GET /things lists them. ?busy=N answers the first N attempts of a call with 503, as a service that is overloaded does.
"""

import json
import sqlite3
import sys
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SCHEMA = """
CREATE TABLE IF NOT EXISTS things(thing TEXT PRIMARY KEY, effect TEXT, state TEXT);
CREATE TABLE IF NOT EXISTS barrier(effect TEXT, operation TEXT, answer TEXT, PRIMARY KEY(effect, operation));
CREATE TABLE IF NOT EXISTS attempts(key TEXT PRIMARY KEY, count INTEGER);
"""
PORT, FILE = int(sys.argv[1]), sys.argv[2]


def connect():
    """Opens the database. A transaction begins where it says so, and is on disk when it has committed."""
    db = sqlite3.connect(FILE, isolation_level=None, timeout=10)
    db.execute("PRAGMA synchronous = FULL")
    return db


def handle(db, effect, operation, thing):
    """Does one operation once, within a transaction. Returns the status, and the answer that each repetition gets."""
    seen = dict(db.execute("SELECT operation, answer FROM barrier WHERE effect = ?", [effect]))
    if operation in seen:
        return 200, seen[operation]
    if operation == "action":
        if "compensation" in seen:
            return 409, "it was given back before: too late"
        if db.execute("SELECT 1 FROM things WHERE thing = ?", [thing]).fetchone():
            return 409, f"{thing} is taken"
        db.execute("INSERT INTO things VALUES (?, ?, 'taken')", [thing, effect])
    elif operation == "compensation":
        db.execute("DELETE FROM things WHERE effect = ?", [effect])
    elif operation == "completion":
        db.execute("UPDATE things SET state = 'sold' WHERE effect = ?", [effect])
    else:
        return 400, f"{operation} is nothing that is done here"
    answer = json.dumps({"thing": thing})
    db.execute("INSERT INTO barrier VALUES (?, ?, ?)", [effect, operation, answer])
    return 200, answer


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with closing(connect()) as db:
            rows = db.execute("SELECT thing, state FROM things ORDER BY thing").fetchall()
        self.answer(200, json.dumps(dict(rows)))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        if url.path == "/called":
            print("called back:", body.decode(), flush=True)
            return self.answer(200, "{}")
        key = self.headers.get("Idempotency-Key")
        if url.path != "/things" or key is None:
            return self.answer(404, '"POST /things, with an Idempotency-Key"')
        try:
            thing = json.loads(body)["thing"]
        except (ValueError, KeyError, TypeError):
            return self.answer(400, '"name a thing in the JSON body"')
        busy = int(parse_qs(url.query).get("busy", ["0"])[0])
        # Whatever goes wrong, it is closed, so that no transaction stays open.
        with closing(connect()) as db:
            status, answer = self.once(db, key, thing, busy)
        self.answer(status, answer if answer.startswith("{") else json.dumps(answer))

    def once(self, db, key, thing, busy):
        db.execute("INSERT INTO attempts VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET count = count + 1", [key])
        (attempt,) = db.execute("SELECT count FROM attempts WHERE key = ?", [key]).fetchone()
        if attempt <= busy:
            return 503, f"busy at attempt {attempt}"
        db.execute("BEGIN IMMEDIATE")
        done = handle(db, self.headers["Undoubt-Effect"], self.headers["Undoubt-Operation"], thing)
        db.execute("COMMIT")
        return done

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    opened = connect()
    opened.executescript(SCHEMA)
    opened.close()
    ThreadingHTTPServer(("127.0.0.1", PORT), Service).serve_forever()
