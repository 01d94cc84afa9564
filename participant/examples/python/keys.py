"""Promise 10 of session.proto: a coordinator proves by an Ed25519 key that it is the one that it says."""

import os

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_SUCCESSIONS = 16
LAST_EPOCH = 2**24 - 1


class Unproven(Exception):
    """Nobody who may have this coordinator's session. `code` is the name of a gRPC status."""

    def __init__(self, code, why):
        super().__init__(why)
        self.code = code


def challenge():
    return os.urandom(32)


def is_signed(key, statement, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, statement)
    except (ValueError, InvalidSignature):
        return False
    return True


def check(hello, challenge, batch, participant):
    """Refuses who has not signed the challenge with the key of its hello."""
    statement = b"".join(
        [
            b"undoubt session 2",
            challenge,
            hello.coordinator_id,
            hello.epoch.to_bytes(4, "big"),
            hello.public_key,
            participant.encode(),
        ]
    )
    if not is_signed(hello.public_key, statement, batch.proof.signature):
        raise Unproven("UNAUTHENTICATED", "the signature is not that of the public key for this challenge")


def former(hello):
    """The keys that the key of the hello follows, by their own word: the latest first."""
    key = hello.public_key
    for succession in reversed(hello.successions[-MAX_SUCCESSIONS:]):
        statement = b"undoubt succession 2" + succession.former_public_key + key
        if not is_signed(succession.former_public_key, statement, succession.signature):
            return
        key = succession.former_public_key
        yield key
