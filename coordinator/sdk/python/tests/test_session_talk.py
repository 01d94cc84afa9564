"""How sessions begin and end, over gRPC: who is taken for a coordinator, and who replaces whom."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from undoubt.session import Participant, SqliteStore, StoreFailed
from undoubt.session import session_pb2 as pb

from ledger import Committing, Ledger, add

PATIENCE_S = 10.0
ID = b"c" * 16

Talk = Callable[["Speaker"], Awaitable[None]]


class Refused(Exception):
    """A session that was ended by the participant."""


class Speaker:
    """Somebody who speaks as a coordinator."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address)
        self.key = Ed25519PrivateKey.generate()

    def public(self, key: Ed25519PrivateKey | None = None) -> bytes:
        return (key or self.key).public_key().public_bytes_raw()

    def call(self) -> Any:
        return self.channel.stream_stream(
            "/undoubt.v1.Participant/Session",
            request_serializer=pb.CoordinatorBatch.SerializeToString,
            response_deserializer=pb.ParticipantBatch.FromString,
        )()

    async def open(self, *, proof: bytes | None = None, **hello: Any) -> tuple[Any, pb.Welcome]:
        """Opens a session, and returns it with the welcome."""
        told: dict[str, Any] = {
            "protocol_version": 2,
            "participant_name": "ledger",
            "epoch": 1,
            "coordinator_id": ID,
        } | hello
        first = pb.Hello(**{"public_key": self.public(), **told})
        call = self.call()
        await call.write(pb.CoordinatorBatch(hello=first))
        challenge = (await self.read(call)).challenge
        assert len(challenge) == 32
        said = b"undoubt session 2" + challenge + first.coordinator_id + first.epoch.to_bytes(4, "big")
        signature = self.key.sign(said + first.public_key + first.participant_name.encode())
        await call.write(pb.CoordinatorBatch(proof=pb.Proof(signature=proof or signature)))
        return call, (await self.read(call)).welcome

    async def read(self, call: Any) -> pb.ParticipantBatch:
        try:
            batch = await asyncio.wait_for(call.read(), PATIENCE_S)
        except grpc.aio.AioRpcError as error:
            raise Refused(error.code().name, dict(error.trailing_metadata() or ())) from None
        if not isinstance(batch, pb.ParticipantBatch):
            raise Refused((await call.code()).name, dict(await call.trailing_metadata()))
        return batch

    async def refused(self, **how: Any) -> tuple[str, dict[str, Any]]:
        """Returns the code that a session is refused with, and what is told with it."""
        with pytest.raises(Refused) as refused:
            await self.open(**how)
        code, metadata = refused.value.args
        return code, metadata


def talk(folder: Path, what: Talk) -> None:
    async def main() -> None:
        participant = Participant("ledger", SqliteStore(folder / "ledger.db"), Ledger())
        speaker = Speaker(await participant.start("127.0.0.1:0"))
        try:
            await what(speaker)
        finally:
            await speaker.channel.close()
            await participant.stop()

    asyncio.run(main())


def test_a_session_begins_with_a_proof_and_answers(tmp_path: Path) -> None:
    async def what(speaker: Speaker) -> None:
        call, welcome = await speaker.open(protocol_version=1, newest_protocol_version=3)
        assert (welcome.protocol_version, welcome.participant_name, welcome.resource) == (2, "ledger", "ledger")
        assert {"saga-steps", "one-phase", "two-phase", "open-sagas", "still-open"} == set(welcome.abilities)
        prepare = pb.ToParticipant(tx=b"tx", attempt_number=1, prepare=pb.Prepare(work=add("a", 1)))
        unreadable = pb.ToParticipant(attempt_number=1, prepare=pb.Prepare(work=add("a", 1)))
        await call.write(pb.CoordinatorBatch(messages=[unreadable, prepare]))
        assert [one.vote.prepared for one in (await speaker.read(call)).messages] == [b"1"]
        # It asks for the decision.
        assert [one.WhichOneof("body") for one in (await speaker.read(call)).messages] == ["inquiry"]

    talk(tmp_path, what)


def test_a_newer_session_replaces_the_one_before(tmp_path: Path) -> None:
    async def what(speaker: Speaker) -> None:
        before, _ = await speaker.open()
        await speaker.open(epoch=2)
        with pytest.raises(Refused) as ended:
            await speaker.read(before)
        assert ended.value.args[0] == "ABORTED"

    talk(tmp_path, what)


def test_who_is_not_taken(tmp_path: Path) -> None:
    async def what(speaker: Speaker) -> None:
        await speaker.open(epoch=7)
        code, told = await speaker.refused(epoch=6)
        assert (code, told["undoubt-known-epoch"]) == ("FAILED_PRECONDITION", "7")
        refusals: list[tuple[str, dict[str, Any]]] = [
            ("UNAUTHENTICATED", {"protocol_version": 1}),
            ("UNAUTHENTICATED", {"proof": b"." * 64}),
            ("FAILED_PRECONDITION", {"protocol_version": 3, "newest_protocol_version": 4}),
            ("FAILED_PRECONDITION", {"participant_name": "another"}),
            ("INVALID_ARGUMENT", {"coordinator_id": b"short"}),
            ("OUT_OF_RANGE", {"epoch": 2**24}),
        ]
        for code, how in refusals:
            assert (await speaker.refused(**how))[0] == code, how

    talk(tmp_path, what)


def test_a_key_stays_or_is_followed(tmp_path: Path) -> None:
    async def what(speaker: Speaker) -> None:
        await speaker.open()
        former, speaker.key = speaker.key, Ed25519PrivateKey.generate()
        assert (await speaker.refused())[0] == "PERMISSION_DENIED"
        statement = b"undoubt succession 2" + speaker.public(former) + speaker.public()
        forged = pb.Succession(former_public_key=speaker.public(former), signature=speaker.key.sign(statement))
        assert (await speaker.refused(successions=[forged]))[0] == "PERMISSION_DENIED"
        follows = pb.Succession(former_public_key=speaker.public(former), signature=former.sign(statement))
        await speaker.open(successions=[follows])
        await speaker.open()
        speaker.key = former
        assert (await speaker.refused())[0] == "PERMISSION_DENIED"

    talk(tmp_path, what)


def test_it_serves_nobody_once_its_store_has_failed(tmp_path: Path) -> None:
    async def main() -> None:
        participant = Participant("ledger", SqliteStore(tmp_path / "ledger.db"), Committing())
        speaker = Speaker(await participant.start("127.0.0.1:0"))
        call, _ = await speaker.open()
        run = pb.RunStep(attempt=1, work=add("a", 1))
        await call.write(pb.CoordinatorBatch(messages=[pb.ToParticipant(tx=b"tx", attempt_number=1, run=run)]))
        with pytest.raises(Refused) as ended:
            await speaker.read(call)
        assert ended.value.args[0] == "UNAVAILABLE"
        with pytest.raises(StoreFailed):
            await asyncio.wait_for(participant.wait(), PATIENCE_S)
        assert (await speaker.refused(epoch=2))[0] == "UNAVAILABLE"
        await speaker.channel.close()
        await participant.stop()

    asyncio.run(main())
