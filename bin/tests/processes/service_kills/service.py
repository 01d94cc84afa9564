"""Serves one small service with a database of its own, which keeps the contract of participant/HTTP.md.

It holds accounts. Each request is one transaction of its database, in which the row of the barrier stands beside the effect, and a
line of the ledger for each change of an account. Where its seed says so it answers badly: before or after the effect.
"""

import argparse
import json
import os
import random
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TABLES = """
CREATE TABLE IF NOT EXISTS account(name TEXT PRIMARY KEY, balance INTEGER, held INTEGER, coming INTEGER);
CREATE TABLE IF NOT EXISTS barrier(effect TEXT, operation TEXT, PRIMARY KEY(effect, operation));
CREATE TABLE IF NOT EXISTS ledger(
    tx TEXT, part TEXT, effect TEXT, what TEXT, account TEXT, balance INTEGER, held INTEGER, coming INTEGER);
"""

# What is done first, what undoes it, what completes it.
DOES, UNDOES, COMPLETES = ("action", "try"), ("compensation", "cancel"), ("completion", "confirm")

# The chances of bad answers, of a thousand requests.
CHANCES = {
    "busy": 30,  # 503
    "busy-for-a-while": 15,  # 503 with Retry-After
    "broken": 15,  # 500
    "in-progress": 10,  # 425
    "sleeps-before": 15,
    "sleeps-after": 15,
    "drops": 50,  # the connection, with the effect in the database
    "refuses": 60,  # 409, of what may be refused
}


class Refused(Exception):
    """Says that nothing was done and nothing will be."""


class Service:
    def __init__(self, options):
        self.options = options
        self.lock = threading.Lock()
        # Each start is told another seed.
        self.random = random.Random(options.seed)
        self.faults = os.open(options.database + ".faults", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.db = sqlite3.connect(options.database, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.executescript(TABLES)
        self.db.execute("BEGIN IMMEDIATE")
        for account in range(options.accounts):
            row = (f"account-{account}", options.balance)
            self.db.execute("INSERT OR IGNORE INTO account VALUES (?, ?, 0, 0)", row)
        self.db.execute("COMMIT")

    def draws(self, fault):
        """Returns true if this fault happens now, and counts it."""
        with self.lock:
            drawn = not self.options.well and self.random.randrange(1000) < CHANCES[fault]
        if drawn:
            os.write(self.faults, (fault + "\n").encode())
        return drawn

    def carry_out(self, operation, effect, tx, body):
        """Does what is asked for, once. Raises Refused where the answer is never."""
        refuses = operation in DOES and self.draws("refuses")
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                refused = self.once(operation, effect, tx, body, refuses)
                self.db.execute("COMMIT")
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
        if refused:
            raise Refused(refused)

    def once(self, operation, effect, tx, body, refuses):
        rows = self.db.execute("SELECT operation FROM barrier WHERE effect = ?", [effect])
        seen = {operation for (operation,) in rows}
        part, form, account, amount = body["part"], body["form"], body["account"], body["amount"]
        done, undone = seen.intersection(DOES), seen.intersection(UNDOES)
        if operation in seen:
            return None
        if "refused" in seen and operation in DOES:
            return "it was refused before"
        if operation in DOES:
            if undone:
                return "it comes after what undoes it"
            if refuses or (amount < 0 and self.balance(account) < -amount):
                # Requests overtake each other: an earlier one with this key may yet be on its way.
                self.remember(effect, "refused")
                return "it is not possible"
            changes = self.first(form, amount)
        elif operation in UNDOES:
            changes = tuple(-change for change in self.first(form, amount)) if done else None
            if seen.intersection(COMPLETES) and body.get("nested"):
                # Its saga was closed, and turned back with the one that it is nested in.
                changes = tuple(change - more for change, more in zip(changes, self.second(form, amount)))
            elif seen.intersection(COMPLETES):
                self.change(tx, part, effect, "undone-after-completion", account, (0, 0, 0))
        else:
            changes = self.second(form, amount)
            if undone or (not done and form != "delivered"):
                self.change(tx, part, effect, "completed-for-nothing", account, (0, 0, 0))
        if not self.options.forgetful:
            self.remember(effect, operation)
        if changes is not None:
            what = "done" if operation in DOES else "undone" if operation in UNDOES else "completed"
            self.change(tx, part, effect, what, account, changes)
        return None

    def check_back(self, tx):
        """Tells whether the transaction's local part is done; if it is not, it never will be."""
        effect = "local/" + tx
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            rows = self.db.execute("SELECT operation FROM barrier WHERE effect = ?", [effect])
            is_done = ("action",) in rows.fetchall()
            if not is_done:
                self.remember(effect, "refused")
            self.db.execute("COMMIT")
        if not is_done:
            raise Refused("it was not done, and never will be")

    @staticmethod
    def first(form, amount):
        """Returns what an action or a try does to balance, held and coming."""
        if form in ("reserved", "own"):
            return (amount, -amount, 0) if amount < 0 else (0, 0, amount)
        return (amount, 0, 0)

    @staticmethod
    def second(form, amount):
        """Returns what a completion or a confirm does."""
        if form == "delivered":
            return (amount, 0, 0)
        return (0, amount, 0) if amount < 0 else (amount, 0, -amount)

    def balance(self, account):
        return self.db.execute("SELECT balance FROM account WHERE name = ?", [account]).fetchone()[0]

    def remember(self, effect, operation):
        self.db.execute("INSERT OR IGNORE INTO barrier VALUES (?, ?)", [effect, operation])

    def change(self, tx, part, effect, what, account, changes):
        self.db.execute("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [tx, part, effect, what, account, *changes])
        self.db.execute(
            "UPDATE account SET balance = balance + ?, held = held + ?, coming = coming + ? WHERE name = ?",
            [*changes, account],
        )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60

    def do_POST(self):
        service, draws = self.server.service, self.server.service.draws
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers.get("Undoubt-Operation", "action")
        tx = self.headers.get("Undoubt-Transaction") or body["tx"]
        # What a caller does himself has no header: he and the coordinator name it by transaction and step.
        effect = self.headers.get("Undoubt-Effect") if body["form"] in ("moved", "reserved", "delivered") else None
        effect = effect or f"{body['form']}/{tx}/{body['part']}"
        if body["form"] == "local":
            effect = "local/" + tx
        for fault, status in (("busy", 503), ("broken", 500), ("in-progress", 425)):
            if draws(fault):
                return self.answer(status, {"why": fault})
        if draws("busy-for-a-while"):
            return self.answer(503, {"why": "busy"}, retry_after=1)
        if draws("sleeps-before"):
            time.sleep(service.options.sleep)
        try:
            if operation == "check-back":
                service.check_back(tx)
            else:
                service.carry_out(operation, effect, tx, body)
            status, answer = 200, {"part": body["part"]}
        except Refused as refused:
            status, answer = 409, {"why": str(refused)}
        if draws("sleeps-after"):
            time.sleep(service.options.sleep)
        if draws("drops"):
            self.close_connection = True
            return None
        return self.answer(status, answer)

    def answer(self, status, body, retry_after=None):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", required=True)
    parser.add_argument("--address-file", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--accounts", type=int, required=True)
    parser.add_argument("--balance", type=int, required=True)
    parser.add_argument("--sleep", type=float, default=1.5, help="longer than anybody waits, in seconds")
    parser.add_argument("--well", action="store_true", help="never answers badly")
    parser.add_argument("--forgetful", action="store_true", help="keeps no barrier: what the audit has to find")
    options = parser.parse_args()
    server = Server(("127.0.0.1", options.port), Handler)
    server.service = Service(options)
    # All at once: who waits for it may look at any moment.
    with open(options.address_file + ".new", "w") as file:
        file.write(f"127.0.0.1:{server.server_port}")
    os.replace(options.address_file + ".new", options.address_file)
    server.serve_forever()


main()
