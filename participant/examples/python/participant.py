"""A participant in Python that guards seats in a SQLite file. README.md says how to run it."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from seats import Seats
from undoubt.session import Participant, SqliteStore
from undoubt.session.session_pb2 import ToCoordinator


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A participant that guards seats in a SQLite file.")
    parser.add_argument("--name", required=True, help="as the coordinator's configuration calls it")
    parser.add_argument("--listen", default="127.0.0.1:7411", metavar="HOST:PORT", help="port 0: any free one")
    parser.add_argument("--data", required=True, type=Path, metavar="FILE")
    parser.add_argument("--address-file", type=Path, metavar="FILE", help="write the address into it, once it serves")
    parser.add_argument("--crash-after-vote", type=int, metavar="N", help="for tests: end before the Nth vote is sent")
    return parser.parse_args()


class Crash:
    """For tests: dies between the durable vote and its sending."""

    def __init__(self, after: int | None) -> None:
        self.votes_left = after or 0

    def __call__(self, answers: Sequence[ToCoordinator]) -> None:
        for answer in answers:
            if self.votes_left and answer.vote.HasField("prepared"):
                self.votes_left -= 1
                if self.votes_left == 0:
                    os._exit(86)


def main() -> None:
    args = arguments()

    def ready(address: str) -> None:
        print(f"{args.name} listens on {address}", file=sys.stderr, flush=True)
        if args.address_file:
            part = args.address_file.with_suffix(".part")
            part.write_text(address)
            part.rename(args.address_file)  # Readers see the whole address or no file.

    crash = Crash(args.crash_after_vote)
    participant = Participant(args.name, SqliteStore(args.data), Seats(), before_sending=crash)
    asyncio.run(participant.run(args.listen, ready=ready))


if __name__ == "__main__":
    main()
