"""A participant in Python, resting on session.proto and its comments alone. README.md says how to run it."""

import argparse
import asyncio
import os
import signal
import sqlite3
import sys
from dataclasses import dataclass, field
from pathlib import Path

import grpc

import keys
from branches import Branches, LowerEpoch, Unreadable
from seats import MAX_WORK_BYTES
from wire import messages as m
from wire import services

OLDEST_VERSION = NEWEST_VERSION = 2
# What is not named here is never asked for: it runs no steps of sagas.
ABILITIES = ["one-phase", "two-phase"]
RESOURCE = "seats"
SECONDS_BETWEEN_INQUIRIES = 1.0
SECONDS_FOR_THE_PROOF = 5.0

SERVER_OPTIONS = [
    # A coordinator pings an idle connection every few seconds; by default this server would hang up on it.
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),  # A port that is taken is an error.
]


@dataclass(eq=False)
class Session:
    """One conversation. Batches are made by whoever has something to say, and sent one after the other."""

    context: grpc.aio.ServicerContext
    coordinator: bytes
    replaced: asyncio.Event = field(default_factory=asyncio.Event)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def send(self, messages):
        if messages:
            async with self.turn:
                await self.context.write(m.ParticipantBatch(messages=messages))


class Participant(services.ParticipantServicer):
    def __init__(self, name, branches, crash_after_vote):
        self.name = name
        self.branches = branches
        self.votes_until_crash = crash_after_vote
        self.sessions = {}

    async def Session(self, batches, context):
        first = await anext(aiter(batches), None)
        if first is None or not first.HasField("hello") or len(first.hello.coordinator_id) != 16:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a session begins with hello, and a 16-byte id in it")
        try:
            version = self.check(first.hello)
            challenge = keys.challenge()
            await context.write(m.ParticipantBatch(challenge=challenge))
            second = await asyncio.wait_for(anext(aiter(batches), None), SECONDS_FOR_THE_PROOF)
            keys.check(first.hello, challenge, second or m.CoordinatorBatch(), self.name)
            session = self.join(first.hello, context)
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "no proof came")
        except keys.Unproven as refused:
            await context.abort(grpc.StatusCode[refused.code], str(refused))
        except ValueError as refused:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(refused))
        except LowerEpoch as refused:
            known = (("undoubt-known-epoch", str(refused.known)),)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(refused), known)
        welcome = m.Welcome(
            protocol_version=version,
            participant_name=self.name,
            resource=RESOURCE,
            max_work_bytes=MAX_WORK_BYTES,
            abilities=ABILITIES,
        )
        await context.write(m.ParticipantBatch(welcome=welcome))
        talk = [self.listen(session, batches), self.inquire(session), session.replaced.wait()]
        tasks = [asyncio.create_task(task) for task in talk]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not session.replaced.is_set():
                done.pop().result()
        except Unreadable as why:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(why))
        finally:
            for task in tasks:
                task.cancel()
            if self.sessions.get(session.coordinator) is session:
                del self.sessions[session.coordinator]
        if session.replaced.is_set():
            await context.abort(grpc.StatusCode.ABORTED, "a newer session has replaced this one")

    def check(self, hello):
        """The version that both speak. In version 1 nobody proves who it is, so that is not spoken here."""
        oldest, newest = hello.protocol_version, max(hello.protocol_version, hello.newest_protocol_version)
        version = min(newest, NEWEST_VERSION)
        if version < max(oldest, OLDEST_VERSION):
            spoken = f"{OLDEST_VERSION} to {NEWEST_VERSION}"
            raise ValueError(f"protocol versions {spoken} are spoken here, not {oldest} to {newest}")
        if hello.participant_name != self.name:
            raise ValueError(f"this is participant {self.name!r}, not {hello.participant_name!r}")
        return version

    def join(self, hello, context):
        """The session from here on. There is one per coordinator: it replaces the one before it."""
        self.branches.join(hello.coordinator_id, hello.epoch, hello.public_key, list(keys.former(hello)))
        if before := self.sessions.get(hello.coordinator_id):
            before.replaced.set()
        session = self.sessions[hello.coordinator_id] = Session(context, hello.coordinator_id)
        return session

    async def listen(self, session, batches):
        async for batch in batches:
            if session.replaced.is_set():
                return
            try:
                answers = self.branches.take(session.coordinator, batch)
            except sqlite3.Error as error:  # What of it has landed? A new start reads what is there.
                print(f"the storage failed, so this process ends: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            self.crash_if_asked(answers)
            await session.send(answers)

    async def inquire(self, session):
        """Promise 6: about all that is in doubt now, then from time to time about what was so the last time already."""
        before = self.branches.in_doubt(session.coordinator)
        while True:
            now = self.branches.in_doubt(session.coordinator)
            asked = sorted(now & before)
            inquiry = m.Inquiry()
            await session.send([m.ToCoordinator(tx=tx, attempt_number=number, inquiry=inquiry) for tx, number in asked])
            before = now
            await asyncio.sleep(SECONDS_BETWEEN_INQUIRIES)

    def crash_if_asked(self, answers):
        """For tests: dies between the durable vote and its sending."""
        for answer in answers:
            if self.votes_until_crash and answer.vote.HasField("prepared"):
                self.votes_until_crash -= 1
                if self.votes_until_crash == 0:
                    os._exit(86)


def arguments():
    parser = argparse.ArgumentParser(description="A participant that guards seats in a SQLite file.")
    parser.add_argument("--name", required=True, help="as the coordinator's configuration calls it")
    parser.add_argument("--listen", default="127.0.0.1:7411", metavar="HOST:PORT", help="port 0: any free one")
    parser.add_argument("--data", required=True, type=Path, metavar="FILE")
    parser.add_argument("--address-file", type=Path, metavar="FILE", help="write the address into it, once it serves")
    parser.add_argument("--crash-after-vote", type=int, metavar="N", help="for tests: end before the Nth vote is sent")
    return parser.parse_args()


async def serve(args):
    participant = Participant(args.name, Branches(args.data), args.crash_after_vote)
    server = grpc.aio.server(options=SERVER_OPTIONS)
    services.add_ParticipantServicer_to_server(participant, server)
    host = args.listen.rpartition(":")[0]
    address = f"{host}:{server.add_insecure_port(args.listen)}"
    await server.start()
    print(f"{args.name} listens on {address}", file=sys.stderr, flush=True)
    if args.address_file:
        part = args.address_file.with_suffix(".part")
        part.write_text(address)
        part.rename(args.address_file)  # Readers see the whole address or no file.
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await server.stop(grace=0)


if __name__ == "__main__":
    asyncio.run(serve(arguments()))
