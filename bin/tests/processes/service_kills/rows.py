"""Prints what a service's database holds, as JSON: for the audit, which asks nobody but the file."""

import json
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1])
check = db.execute("PRAGMA integrity_check").fetchone()[0]
accounts = db.execute("SELECT name, balance, held, coming FROM account").fetchall()
ledger = db.execute("SELECT tx, part, effect, what, account, balance, held, coming FROM ledger").fetchall()
names = ("tx", "part", "effect", "what", "account", "balance", "held", "coming")
json.dump(
    {
        "intact": check == "ok",
        "accounts": [dict(zip(("name", "balance", "held", "coming"), row)) for row in accounts],
        "ledger": [dict(zip(names, row)) for row in ledger],
    },
    sys.stdout,
)
