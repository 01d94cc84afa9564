"""The barrier under 32 callers at once that repeat and reorder everything, while the handler's process is killed: each effect is done
once or not at all, and no deadlock is left to anybody."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from guarded import A_BUG
from processes import free_port
from stores import connect, notes

CALLERS = 32
EFFECTS = 6
EACH = 3
"""Repetitions of an operation of an effect."""
DEADLINE_S = 60.0
Answers = list[tuple[tuple[str, str], tuple[int, bytes]]]
"""The effect and the operation of a call, and its answer."""

AGAIN = frozenset({408, 423, 425, 429, 500, 503})


class Guarded:
    """The service's process, which is started again whenever it has ended."""

    def __init__(self, url: str) -> None:
        self.port, self._url, self.kills = free_port(), url, 0
        self._over = threading.Event()
        self._process = self._start()
        self._keeper = threading.Thread(target=self._keep)
        self._keeper.start()

    def _start(self) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("guarded.py")
        return subprocess.Popen([sys.executable, str(script), str(self.port), self._url])

    def _keep(self) -> None:
        while not self._over.wait(0.05):
            if self._process.poll() is not None:
                self.kills += 1
                self._process = self._start()

    def kill(self) -> None:
        """Kills it as `kill -9` does."""
        self._process.kill()

    def end(self) -> None:
        self._over.set()
        self._keeper.join()
        self._process.kill()
        self._process.wait()


@pytest.fixture
def guarded(store: str) -> Iterator[Guarded]:
    guarded = Guarded(store)
    yield guarded
    guarded.end()


def ask(http: httpx.Client, url: str, effect: str, operation: str, until: float, dies: str | None) -> tuple[int, bytes]:
    """Asks until the answer is for good, as a participant does. `dies`: when the service's process does so at the first attempt."""
    headers = {"undoubt-effect": effect, "undoubt-operation": operation, "idempotency-key": f"{effect}/{operation}"}
    while True:
        assert time.monotonic() < until, "no answer for good came in time"
        try:
            answer = http.post(url, headers=headers | ({"x-die": dies} if dies else {}), json={})
        except httpx.ConnectError:
            time.sleep(0.05)
            continue
        except httpx.TransportError:
            dies = None
            continue
        assert answer.status_code != 500 or answer.text == A_BUG, f"left to the user: {answer.text}"
        dies = None
        if answer.status_code not in AGAIN:
            return answer.status_code, answer.content
        time.sleep(0.02)


Calls = list[tuple[tuple[str, str], str | None]]
"""The effect and the operation of each call, and when its first attempt finds the process dying."""


def ask_all(guarded: Guarded, path: str, calls: Calls) -> Answers:
    """Asks by all callers at once. Kills the process meanwhile, at `/killed`."""
    queue, lock = iter(calls), threading.Lock()
    answers: Answers = []
    failures: list[BaseException] = []
    until = time.monotonic() + DEADLINE_S
    url = f"http://127.0.0.1:{guarded.port}{path}"
    together = threading.Barrier(CALLERS)

    def caller() -> None:
        with httpx.Client(timeout=10, verify=False) as http:
            together.wait()
            while True:
                with lock:
                    asked = next(queue, None)
                if asked is None:
                    return
                call, dies = asked
                try:
                    answer = ask(http, url, *call, until, dies)
                except BaseException as error:
                    failures.append(error)
                    raise
                with lock:
                    answers.append((call, answer))

    callers = [threading.Thread(target=caller) for _ in range(CALLERS)]
    for one in callers:
        one.start()
    for _ in range(4 if path == "/killed" else 0):
        guarded.kill()
        time.sleep(0.4)
    for one in callers:
        one.join(DEADLINE_S)
    assert not failures
    assert len(answers) == len(calls)
    return answers


@pytest.mark.parametrize("path", ["/fails", "/dies", "/killed"])
def test_each_effect_is_done_once_or_not_at_all(guarded: Guarded, store: str, path: str) -> None:
    seed = 7
    effects = [f"{path}/{number}" for number in range(EFFECTS)]
    # Some effects are only done; the others are undone too, in any order.
    operations = {
        effect: ["action"] * EACH + (["compensation"] * EACH if at % 4 else ["completion"] * EACH)
        for at, effect in enumerate(effects)
    }
    calls = [(effect, operation) for effect, asked in operations.items() for operation in asked]
    random.Random(seed).shuffle(calls)
    deaths: list[str | None] = [None] * len(calls)
    if path == "/dies":
        # The first call of each operation of an effect finds the process dying.
        deaths = [("before", "after")[at % 2] if calls.index(call) == at else None for at, call in enumerate(calls)]
    check(store, effects, ask_all(guarded, path, list(zip(calls, deaths, strict=True))))
    if path in ("/dies", "/killed"):
        assert guarded.kills > 0


def test_all_at_once_ask_for_the_same(guarded: Guarded, store: str) -> None:
    # Where a run fails all others wait for its row, which a database may take for a deadlock of theirs.
    for operation in ("try", "confirm", "cancel"):
        answers = ask_all(guarded, "/herd", [(("herd", operation), None)] * CALLERS)
        assert len({answer for _, answer in answers}) == 1, "a repetition was answered otherwise"
    connection = connect(store)
    assert notes(connection) == [("herd", "try"), ("herd", "confirm"), ("herd", "cancel")]
    connection.close()


def check(store: str, effects: list[str], answers: Answers) -> None:
    connection = connect(store)
    noted = notes(connection)
    connection.close()
    counts = Counter(noted)
    assert not [one for one, count in counts.items() if count > 1], "something was done twice"
    told: dict[tuple[str, str], set[tuple[int, bytes]]] = {}
    for call, answer in answers:
        told.setdefault(call, set()).add(answer)
    for effect in effects:
        for operation in ("action", "completion", "compensation"):
            given = told.get((effect, operation), set())
            done = {answer for answer in given if answer[0] == 200}
            assert len({answer for answer in given if answer[0] == 200}) <= 1, "a repetition was answered otherwise"
            if operation != "compensation":
                assert bool(done) == bool(counts[effect, operation]), f"{operation} of {effect}: {given}, {counts}"
                assert not (done and given - done), f"{operation} of {effect} was done and refused: {given}"
        acted, undone = counts[effect, "action"], counts[effect, "compensation"]
        if (effect, "compensation") in told:
            assert acted == undone, "what was done was not undone, or what was not done was"
            if acted:
                assert noted.index((effect, "action")) < noted.index((effect, "compensation"))
