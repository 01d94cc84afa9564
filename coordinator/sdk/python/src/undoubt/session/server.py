"""The sessions of a participant over gRPC: hello, proof, who replaces whom, what is sent when."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeVar

import grpc
import grpc.aio

from undoubt.session import session_pb2 as pb
from undoubt.session import trust
from undoubt.session.carry import Guard
from undoubt.session.machine import ABILITIES, Conversation, Unreadable
from undoubt.session.resource import Resource
from undoubt.session.store import Store, StoreFailed
from undoubt.session.trust import NotTaken

SECONDS_BETWEEN_INQUIRIES = 1.0
SECONDS_TO_BEGIN = 5.0
"""The time for a hello, and for a proof."""
MAX_BATCH_BYTES = 4 * 1_048_576
MAX_TAKEN_BYTES = 2 * MAX_BATCH_BYTES
"""A coordinator's batch has 4 MiB at most; what is longer is refused by gRPC."""

_OPTIONS = (
    # A coordinator pings an idle connection every few seconds; by default this server would hang up on it.
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),  # A port that is taken is an error.
    ("grpc.max_receive_message_length", MAX_TAKEN_BYTES),
    ("grpc.max_send_message_length", MAX_TAKEN_BYTES),
)

Connection = TypeVar("Connection")
Value = TypeVar("Value")
Context = Any  # grpc.aio.ServicerContext, whose types leave its messages open.

_log = logging.getLogger("undoubt.session")


def batches(messages: Iterable[pb.ToCoordinator]) -> Iterable[pb.ParticipantBatch]:
    """Returns the batches that messages are sent in: each is closed before it would be too large."""
    batch, bytes_of_it = pb.ParticipantBatch(), 0
    for message in messages:
        size = message.ByteSize() + 16  # And what says that it is there.
        if bytes_of_it and bytes_of_it + size > MAX_BATCH_BYTES:
            yield batch
            batch, bytes_of_it = pb.ParticipantBatch(), 0
        batch.messages.append(message)
        bytes_of_it += size
    if bytes_of_it:
        yield batch


@dataclass(eq=False)
class _Session:
    context: Context
    conversation: Conversation
    replaced: asyncio.Event = field(default_factory=asyncio.Event)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def send(self, messages: Sequence[pb.ToCoordinator]) -> None:
        async with self.turn:
            for batch in batches(messages):
                await self.context.write(batch)


class Participant(Generic[Connection]):
    """A participant that serves coordinators.

    `before_sending` is called with what is about to be sent, which is on stable storage by then: for tests of crashes. The store and the
    resource are used in one thread of its own.
    """

    def __init__(
        self,
        name: str,
        store: Store[Connection],
        resource: Resource[Connection],
        *,
        before_sending: Callable[[Sequence[pb.ToCoordinator]], None] = lambda _: None,
    ) -> None:
        self._guard = Guard(name, store, resource)
        self._name, self._resource, self._before_sending = name, resource, before_sending
        self._sessions: dict[bytes, _Session] = {}
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"undoubt-{name}")
        self._server: grpc.aio.Server | None = None
        self._failed: asyncio.Future[NoReturn] | None = None

    async def start(self, listen: str, credentials: grpc.ServerCredentials | None = None) -> str:
        """Opens the store and serves at `host:port`; port 0 takes any free one. Returns the address.

        Without credentials it serves in the clear: on loopback, or in a network that is trusted.
        """
        self._failed = asyncio.get_running_loop().create_future()
        await self._in_worker(self._guard.open)
        server = self._server = grpc.aio.server(options=_OPTIONS)
        handler = grpc.stream_stream_rpc_method_handler(
            self._session,
            request_deserializer=pb.CoordinatorBatch.FromString,
            response_serializer=pb.ParticipantBatch.SerializeToString,
        )
        service = grpc.method_handlers_generic_handler("undoubt.v1.Participant", {"Session": handler})
        server.add_generic_rpc_handlers((service,))
        port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
        await server.start()
        return f"{listen.rpartition(':')[0]}:{port}"

    async def wait(self) -> NoReturn:
        """Waits until the store has failed, and raises `StoreFailed`. The process has to end then, and be started anew."""
        if self._failed is None:
            raise StoreFailed("the participant was not started")
        await asyncio.shield(self._failed)
        raise AssertionError("it only ever fails")

    async def stop(self) -> None:
        """Ends the sessions and closes the store. What is in doubt stays so until the next start."""
        if self._server is not None:
            await self._server.stop(grace=0)
        await self._in_worker(self._guard.close)
        self._worker.shutdown()

    async def run(
        self,
        listen: str,
        credentials: grpc.ServerCredentials | None = None,
        ready: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Serves until SIGTERM or SIGINT, or until the store fails. `ready` hears the address."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            ready(await self.start(listen, credentials))
            await _first(self.wait(), stop.wait())
        finally:
            await self.stop()

    async def _in_worker(self, call: Callable[..., Value], *args: Any) -> Value:
        return await asyncio.get_running_loop().run_in_executor(self._worker, functools.partial(call, *args))

    async def _session(self, requests: AsyncIterable[pb.CoordinatorBatch], context: Context) -> None:
        try:
            incoming = aiter(requests)
            session = await self._begun(incoming, context)
            try:
                # Before anything is heard: the decision may come with the first batch.
                doubt = await self._in_worker(self._guard.in_doubt, session.conversation)
                await self._ask(session, doubt)
                await _first(self._listen(session, incoming), self._inquire(session, doubt), session.replaced.wait())
            finally:
                if self._sessions.get(session.conversation.coordinator) is session:
                    del self._sessions[session.conversation.coordinator]
            if session.replaced.is_set():
                await context.abort(grpc.StatusCode.ABORTED, "a newer session has replaced this one")
        except Unreadable as why:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(why))
        except NotTaken as refused:
            known = refused.known_epoch
            metadata = () if known is None else (("undoubt-known-epoch", str(known)),)
            await context.abort(grpc.StatusCode[refused.code], str(refused), metadata)
        except StoreFailed as failed:
            _log.error("%s serves nobody any more: %s", self._name, failed)
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(failed)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the participant's storage failed")

    async def _begun(self, incoming: AsyncIterator[pb.CoordinatorBatch], context: Context) -> _Session:
        """Returns the session of a coordinator that has proven who it is. There is one per coordinator: it replaces the one before it."""
        hello = (await _next(incoming, "hello")).hello
        trust.check_hello(hello, self._name)
        challenge = trust.challenge()
        await context.write(pb.ParticipantBatch(challenge=challenge))
        trust.check_proof(hello, challenge, (await _next(incoming, "proof")).proof, self._name)
        session = _Session(context, await self._in_worker(self._guard.join, hello))
        if before := self._sessions.get(hello.coordinator_id):
            before.replaced.set()
        self._sessions[hello.coordinator_id] = session
        welcome = pb.Welcome(
            protocol_version=trust.VERSION,
            participant_name=self._name,
            resource=self._resource.kind,
            max_work_bytes=self._resource.max_work_bytes,
            abilities=ABILITIES,
        )
        await context.write(pb.ParticipantBatch(welcome=welcome))
        return session

    async def _listen(self, session: _Session, incoming: AsyncIterator[pb.CoordinatorBatch]) -> None:
        async for batch in incoming:
            answers = await self._in_worker(self._guard.take, session.conversation, batch)
            self._before_sending(answers)
            await session.send(answers)

    async def _inquire(self, session: _Session, before: set[tuple[bytes, int]]) -> None:
        """Asks from time to time about what is in doubt, and was so the last time already."""
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_INQUIRIES)
            now = await self._in_worker(self._guard.in_doubt, session.conversation)
            await self._ask(session, now & before)
            before = now

    async def _ask(self, session: _Session, about: set[tuple[bytes, int]]) -> None:
        inquiry = pb.Inquiry()
        await session.send(
            [pb.ToCoordinator(tx=tx, attempt_number=number, inquiry=inquiry) for tx, number in sorted(about)]
        )


async def _next(incoming: AsyncIterator[pb.CoordinatorBatch], what: str) -> pb.CoordinatorBatch:
    """Returns the next batch of a session that has yet to begin; an empty one at its end."""
    try:
        return await asyncio.wait_for(anext(incoming, pb.CoordinatorBatch()), SECONDS_TO_BEGIN)
    except TimeoutError:
        raise NotTaken("DEADLINE_EXCEEDED", f"no {what} came in {SECONDS_TO_BEGIN:.0f} s") from None


async def _first(*awaited: Awaitable[Any]) -> None:
    """Waits for the first of them to end, cancels the others, and raises what it raised."""
    tasks = [asyncio.ensure_future(one) for one in awaited]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
