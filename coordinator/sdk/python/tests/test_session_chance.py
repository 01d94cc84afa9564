"""Messages of one coordinator in any order, repeated, with new sessions and crashes between: what took effect is what was answered."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from undoubt.session import session_pb2 as pb

from ledger import add
from test_session_rules import BACK, FORWARD, ON, World

SEEDS = range(12)
TURNS = 250
STEPS = 6
BRANCHES = 6


@pytest.mark.parametrize("seed", SEEDS)
def test_each_effect_is_once_and_as_it_was_answered(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    world = World(tmp_path / "ledger.db")
    # All that was ever answered of a step by its direction, and of a branch.
    steps: dict[tuple[int, int], set[str]] = {}
    outcomes: dict[int, set[int]] = {}
    decided = [chance.random() < 0.5 for _ in range(BRANCHES)]
    prepared: set[int] = set()
    for turn in range(TURNS):
        match chance.randrange(20):
            case 0:
                world.restart()
            case 1:
                world.connect()
            case number if number < 12:
                step, direction = chance.randrange(STEPS), chance.choice([FORWARD, BACK, ON])
                by = -1 if direction == BACK else 1
                # Attempts grow: what is repeated is told apart from what is tried again by them.
                attempt = max(1, turn + chance.randrange(-3, 1))
                said = world.step(100, direction, add(f"step-{step}", by), attempt, step=step)
                steps.setdefault((step, int(direction)), set()).add(said)
            case _:
                branch = chance.randrange(BRANCHES)
                tx = f"branch-{branch}".encode()
                if branch not in prepared:
                    vote = world.vote(1 + branch, add(f"branch-{branch}", 1), tx)
                    if vote is not None and vote.HasField("prepared"):
                        prepared.add(branch)
                elif decided[branch]:
                    answer = world.branch(1 + branch, tx, commit=pb.Commit())
                    assert answer is not None
                    outcomes.setdefault(branch, set()).add(answer.finished.outcome)
                else:
                    assert world.branch(1 + branch, tx, abort=pb.Abort(certain=True)) is None
                    assert world.vote(1 + branch, add(f"branch-{branch}", 1), tx) is None
    world.restart()
    journal = Counter((what, key) for what, key, _ in world.journal())
    assert all(times == 1 for times in journal.values()), journal
    for branch in range(BRANCHES):
        assert outcomes.get(branch, set()) <= {pb.BRANCH_OUTCOME_COMMITTED}
        assert (branch in outcomes) == (("commit", f"branch-{branch}") in journal)
    for step in range(STEPS):
        did = {direction: steps.get((step, int(direction)), set()) for direction in (FORWARD, BACK, ON)}
        took = {what: (what, f"step-{step}") in journal for what in ("act", "compensate", "complete")}
        assert any(said.startswith("done") for said in did[FORWARD]) == took["act"], (step, did)
        assert ("done" in did[BACK]) == took["compensate"], (step, did)
        assert ("done" in did[ON]) == took["complete"], (step, did)
        assert not (took["compensate"] and took["complete"]), "a step ends one way"
        assert took["act"] or not (took["compensate"] or took["complete"]), "only what was done is ended"
        assert not ("empty" in did[BACK] and any(took.values())), "what was never done is never done"
    world.guard.close()
