"""A participant of one's own with a real coordinator: whoever is killed at whatever moment, it ends as promised, each effect once."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from undoubt import Aborted, Client, Outcome, UndoubtError, new_id

from ledger import add
from processes import Coordinator, free_port

PATIENCE_S = 20.0


class LedgerProcess:
    """The ledger as a process, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "ledger.db"
        self.address = f"127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self, *how: str) -> None:
        self.file.with_suffix(".address").unlink(missing_ok=True)
        program = [sys.executable, str(Path(__file__).with_name("ledger.py")), str(self.file), self.address, *how]
        self._process = subprocess.Popen(program)
        eventually(lambda: self.file.with_suffix(".address").exists())

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def restart(self, *how: str) -> None:
        self.kill()
        self.start(*how)

    def died(self) -> None:
        """Waits until it has killed itself."""
        assert self._process is not None
        assert self._process.wait(PATIENCE_S) == -signal.SIGKILL

    def stalled(self) -> None:
        """Waits until it stands still with something durable that it has not sent."""
        eventually(lambda: self.file.with_suffix(".stalled").exists())

    def lines(self, key: str) -> list[str]:
        """Returns what took effect under a key. Only while it is not running: it has its file alone."""
        self.kill()
        with closing(sqlite3.connect(self.file)) as db:
            return [what for (what,) in db.execute("SELECT what FROM journal WHERE key = ? ORDER BY rowid", [key])]


def eventually(happens: Any) -> None:
    until = time.monotonic() + PATIENCE_S
    while not happens():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


class World:
    def __init__(self, folder: Path) -> None:
        self.ledger = LedgerProcess(folder)
        self.coordinator = Coordinator(folder, [], {"ledger": f"http://{self.ledger.address}"})
        self.client = Client(self.coordinator.url)

    def restart_ledger(self, *how: str) -> None:
        self.ledger.restart(*how)
        self.coordinator.wait()

    def submit(self, document: dict[str, Any], id: str, wait: float = 30) -> Outcome:
        return self.client.submit({"id": id, **document}, wait=wait)

    def begin(self, document: dict[str, Any], id: str) -> None:
        """Submits in the background; whether it is answered does not matter."""

        def submit() -> None:
            try:
                with Client(self.coordinator.url, timeout=PATIENCE_S) as client:
                    client.submit({"id": id, **document}, wait=0)
            except UndoubtError:
                pass

        threading.Thread(target=submit, daemon=True).start()

    def end_of(self, id: str) -> str:
        """Waits for the end of a transaction, and returns it."""
        states: list[str] = []

        def is_over() -> bool:
            try:
                states.append(self.client.get(id, wait=5).state)
            except UndoubtError:
                return False
            return states[-1] in ("committed", "aborted")

        eventually(is_over)
        return states[-1]

    def settled(self) -> None:
        """Waits until every participant has ended its part: a client hears of a commit before they do."""
        eventually(lambda: not list(self.client.list(filter="open")))

    def stored(self, key: str) -> str | None:
        return self.client.submit({"branches": {"store": [f"get {key}"]}}).results["store"].values[0]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.client.close()
    world.coordinator.kill()
    world.ledger.kill()


def raw(work: bytes) -> dict[str, str]:
    return {"raw": f"0x{work.hex()}"}


def both(key: str, by: int = 3, stored: int = 3) -> dict[str, Any]:
    """Returns a two-phase commit over the ledger and the coordinator's own store."""
    return {"branches": {"ledger": raw(add(key, by, floor=0)), "store": [f"add {key} {stored} floor=0"]}}


def saga(key: str, stored: int = 3, deadline: str = "30s") -> dict[str, Any]:
    """Returns a saga: first the ledger, then the store."""
    ledger = {"name": "ledger", "at": "ledger", "do": raw(add(key, 3)), "undo": raw(add(key, -3))}
    store = {"name": "store", "at": "store", "do": [f"add {key} {stored} floor=0"], "undo": [f"add {key} {-stored}"]}
    return {"mode": "saga", "deadline": deadline, "steps": [ledger, store]}


def test_both_or_neither(world: World) -> None:
    done = world.submit(both("a"), new_id())
    assert (done.state, done.results["ledger"].raw) == ("committed", {"raw": f"0x{b'3'.hex()}"})
    refused = world.submit(both("a", by=-9), new_id())
    assert refused.abort is not None
    assert (refused.state, refused.abort.reason, refused.abort.participant) == ("aborted", "condition", "ledger")
    assert world.submit(both("a", stored=-9), new_id()).state == "aborted"
    assert world.client.submit({"branches": {"ledger": raw(add("b", 1))}}).state == "committed"
    assert world.stored("a") == "3"
    world.settled()
    assert world.ledger.lines("a") == ["commit"]
    assert world.ledger.lines("b") == ["commit"]


def test_a_saga_is_done_or_undone(world: World) -> None:
    assert world.submit(saga("a"), new_id()).state == "committed"
    assert world.submit(saga("b", stored=-9), new_id()).state == "aborted"
    assert world.ledger.lines("a") == ["act"]
    assert world.ledger.lines("b") == ["act", "compensate"]


def test_an_open_saga_completes_or_undoes(world: World) -> None:
    with world.client.saga() as kept:
        done = kept.run("do", at="ledger", do=raw(add("a", 3)), undo=raw(add("a", -3)))
        assert done.raw["results"] == {"raw": f"0x{b'3'.hex()}"}
        kept.join("later", at="ledger", complete=raw(add("later", 1)))
    with pytest.raises(ZeroDivisionError), world.client.saga() as turned:
        turned.run("do", at="ledger", do=raw(add("b", 3)), undo=raw(add("b", -3)))
        turned.join("later", at="ledger", complete=raw(add("never", 1)))
        _ = 1 // 0
    assert [world.ledger.lines(key) for key in ("a", "later", "b", "never")] == [
        ["act"],
        ["complete"],
        ["act", "compensate"],
        [],
    ]


def test_a_participant_that_dies_with_its_vote_unsent_is_told_the_end(world: World) -> None:
    world.restart_ledger("--die-after", "vote")
    id = new_id()
    world.begin(both("a"), id)
    world.ledger.died()
    world.ledger.start()
    assert world.end_of(id) == "committed"
    assert world.stored("a") == "3"
    world.settled()
    assert world.ledger.lines("a") == ["commit"]


def test_a_participant_that_dies_with_its_commit_unsent_has_committed_once(world: World) -> None:
    world.restart_ledger("--die-after", "commit")
    id = new_id()
    world.begin(both("a"), id)
    world.ledger.died()
    world.restart_ledger()
    assert world.end_of(id) == "committed"
    world.settled()
    assert world.ledger.lines("a") == ["commit"]


@pytest.mark.parametrize(("answer", "stored"), [("action", 3), ("compensation", -9)])
def test_a_participant_that_dies_with_a_step_unsent_has_done_it_once(world: World, answer: str, stored: int) -> None:
    world.restart_ledger("--die-after", answer)
    id = new_id()
    world.begin(saga("a", stored), id)
    world.ledger.died()
    world.ledger.start()
    assert world.end_of(id) == ("committed" if answer == "action" else "aborted")
    assert world.ledger.lines("a") == ["act"] if answer == "action" else ["act", "compensate"]


def test_a_compensation_that_comes_first_is_empty(world: World) -> None:
    world.restart_ledger("--die-before-acting")
    id = new_id()
    world.begin(saga("a", deadline="500ms"), id)
    world.ledger.died()
    time.sleep(1)  # Its time is over, and it is turned back.
    world.ledger.start()
    assert world.end_of(id) == "aborted"
    assert world.ledger.lines("a") == []


def test_a_branch_in_doubt_aborts_with_a_coordinator_that_had_not_decided(world: World) -> None:
    world.restart_ledger("--stall-after", "vote")
    id = new_id()
    world.begin(both("a"), id)
    world.ledger.stalled()
    world.coordinator.kill()
    world.ledger.restart()
    world.coordinator.start()
    # Its key is free again once it has heard: the same sum is changed by another.
    eventually(lambda: world.submit(both("a"), new_id()).state == "committed")
    assert world.stored("a") == "3"
    world.settled()
    assert world.ledger.lines("a") == ["commit"]


def test_a_saga_goes_on_after_its_coordinator_died(world: World) -> None:
    world.restart_ledger("--stall-after", "action")
    id = new_id()
    world.begin(saga("a"), id)
    world.ledger.stalled()
    world.coordinator.kill()
    world.ledger.restart()
    world.coordinator.start()
    assert world.end_of(id) in ("committed", "aborted")
    ended = world.client.get(id).state
    assert world.stored("a") == ("3" if ended == "committed" else None)
    assert world.ledger.lines("a") == (["act"] if ended == "committed" else ["act", "compensate"])


def test_kills_at_any_moment_leave_each_effect_once(world: World) -> None:
    chance = random.Random(7)
    ids = {f"{kind}-{number}": kind for number in range(40) for kind in ("both", "saga", "undone")}

    def document(key: str) -> dict[str, Any]:
        return both(key) if ids[key] == "both" else saga(key, stored=3 if ids[key] == "saga" else -9)

    killed = threading.Event()

    def kill() -> None:
        for turn in range(8):
            time.sleep(chance.uniform(0.1, 0.5))
            if turn % 3 == 2:
                world.coordinator.kill()
                world.coordinator.start()
            else:
                world.ledger.restart()
        killed.set()

    killer = threading.Thread(target=kill)
    killer.start()
    for key in ids:
        world.begin(document(key), key)
        time.sleep(0.02)
    killer.join()
    assert killed.is_set()
    world.coordinator.wait()
    ends: dict[str, str] = {}
    for key in ids:
        try:
            ends[key] = world.submit(document(key), key).state  # The same id: it is the same transaction.
        except Aborted:
            ends[key] = "aborted"
    eventually(lambda: not list(world.client.list(filter="open")))
    expected: dict[tuple[str, str], list[list[str]]] = {
        ("both", "committed"): [["commit"]],
        ("both", "aborted"): [[]],
        ("saga", "committed"): [["act"]],
        ("saga", "aborted"): [["act", "compensate"], []],
        ("undone", "aborted"): [["act", "compensate"], []],
    }
    for key, kind in ids.items():
        assert world.ledger.lines(key) in expected[kind, ends[key]], (key, ends[key])
    assert sum(end == "committed" for end in ends.values()) > 20
