"""Who is taken for a coordinator: promises 7 and 10 of session.proto. Pure, save for the challenge."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from undoubt.session import session_pb2 as pb
from undoubt.session.effects import Known

VERSION = 2
"""The version that is spoken here. In version 1 nobody proves who it is."""
MAX_SUCCESSIONS = 16
LAST_EPOCH = 2**24 - 1
COORDINATOR_ID_BYTES = 16


class NotTaken(Exception):
    """Nobody who may have this coordinator's session. `code` is the name of a gRPC status; `known_epoch` is told with it."""

    def __init__(self, code: str, why: str, known_epoch: int | None = None) -> None:
        super().__init__(why)
        self.code = code
        self.known_epoch = known_epoch


def challenge() -> bytes:
    """Returns bytes that were never there before."""
    return os.urandom(32)


def check_hello(hello: pb.Hello, participant: str) -> None:
    """Refuses whoever cannot be spoken to, or means somebody else."""
    if len(hello.coordinator_id) != COORDINATOR_ID_BYTES:
        raise NotTaken("INVALID_ARGUMENT", "a session begins with hello, and an id of 16 bytes in it")
    oldest, newest = hello.protocol_version, max(hello.protocol_version, hello.newest_protocol_version)
    if newest < VERSION:
        raise NotTaken("UNAUTHENTICATED", f"version {newest} of the protocol proves nothing: {VERSION} is spoken here")
    if oldest > VERSION:
        raise NotTaken("FAILED_PRECONDITION", f"version {VERSION} of the protocol is spoken here, not {oldest}")
    if hello.participant_name != participant:
        raise NotTaken("FAILED_PRECONDITION", f"this is participant {participant!r}, not {hello.participant_name!r}")


def check_proof(hello: pb.Hello, asked: bytes, proof: pb.Proof, participant: str) -> None:
    """Refuses whoever has not signed the challenge with the key of its hello."""
    epoch = hello.epoch.to_bytes(4, "big")
    statement = b"undoubt session 2" + asked + hello.coordinator_id + epoch + hello.public_key + participant.encode()
    if not _is_signed(hello.public_key, statement, proof.signature):
        raise NotTaken("UNAUTHENTICATED", "the signature is not that of the public key for this challenge")


def joined(known: Known | None, hello: pb.Hello, may_be_new: bool) -> Known:
    """Returns what is known of a coordinator that has proven its key once it has joined; refuses it if it must not.

    The key of the first contact stays, or one that follows it. `may_be_new`: one more may come without an operator's word.
    """
    pin = "an operator pins its key in the participant's store (SqliteStore.pin)"
    if hello.epoch > LAST_EPOCH:
        raise NotTaken("OUT_OF_RANGE", f"epoch {hello.epoch} is above {LAST_EPOCH}, the last that there is")
    if known is None:
        if not may_be_new:
            raise NotTaken("RESOURCE_EXHAUSTED", f"as many coordinators are known as may come by themselves: {pin}")
        return Known(hello.epoch, hello.public_key)
    if known.public_key not in (hello.public_key, *_former(hello)):
        raise NotTaken("PERMISSION_DENIED", f"this coordinator is known by another key: {pin}")
    if hello.epoch < known.epoch:
        why = f"epoch {hello.epoch} is over: this coordinator was here with epoch {known.epoch}"
        raise NotTaken("FAILED_PRECONDITION", why, known.epoch)
    return replace(known, epoch=hello.epoch, public_key=hello.public_key)


def _former(hello: pb.Hello) -> Iterator[bytes]:
    """Returns the keys that the key of the hello follows, by their own word: the latest first."""
    key = hello.public_key
    for succession in reversed(hello.successions[-MAX_SUCCESSIONS:]):
        statement = b"undoubt succession 2" + succession.former_public_key + key
        if not _is_signed(succession.former_public_key, statement, succession.signature):
            return
        key = succession.former_public_key
        yield key


def _is_signed(key: bytes, statement: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, statement)
    except (ValueError, InvalidSignature):
        return False
    return True
