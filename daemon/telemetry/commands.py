"""Commands that come over MQTT: signed, fresh, unseen, for this account, and only lowering risk.

The message broker is not trusted: whatever it replays, keeps or makes up, at worst trading
stops.
"""

import base64
import binascii
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from daemon.telemetry.nonces import Nonces
from domain.clock import Clock
from domain.errors import ConfigError, StorageError

MOST_BYTES = 8192
FRESH_SECONDS = 30.0
VERSION = 1
_FIELDS = {"v", "account", "verb", "reason", "issued_at", "nonce", "sig"}
_KEY_BYTES = 32
_NONCE_LENGTHS = range(16, 65)
_LONGEST_REASON = 200
# The document's own, and those that a reason may hold: a kill is a kill with "[desk]" in it.
_MOST_BRACKETS = 1 + _LONGEST_REASON


@unique
class Verb(StrEnum):
    """What may be asked.  None of them can raise risk."""

    KILL = "kill"
    PAUSE = "pause"
    REDUCE_ONLY = "reduce_only"
    STATUS = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that passed every check."""

    verb: Verb
    reason: str
    nonce: str


class CommandRefused(Exception):
    """The message is no command that may be obeyed; the text says why.

    ``is_signed`` tells whether somebody who may command sent it; ``is_urgent`` that somebody
    may take it for obeyed, and has to hear that it was not.
    """

    def __init__(self, reason: str, *, is_signed: bool = False, is_urgent: bool = False) -> None:
        super().__init__(reason)
        self.is_signed = is_signed
        self.is_urgent = is_urgent


class _ObeyedBefore(CommandRefused):
    """A delivery that came twice: what it asked for was done."""


class CommandDesk:
    """Checks what arrives on the command topic."""

    def __init__(
        self,
        *,
        account: str,
        topic: str,
        keys: Sequence[str],
        nonces: Nonces,
        clock: Clock,
        verbs: frozenset[Verb] = frozenset(Verb),
    ) -> None:
        """Take the keys that may sign and the verbs that this topic has.

        Raises:
            ConfigError: one is no Ed25519 public key in base64.
        """
        self._account = account
        self._topic = topic
        self._keys = [_public_key(text) for text in keys]
        self._nonces = nonces
        self._clock = clock
        self._verbs = verbs

    def accept(self, payload: bytes, *, is_retained: bool) -> Command:
        """Return the command, having used up its nonce.

        Raises:
            CommandRefused: with the reason.
        """
        if is_retained:
            raise CommandRefused("a retained message is old news, not a command", is_urgent=True)
        document = _document(payload)
        self._check_signature(document)
        # Only now is anything in it worth a sentence of its own.
        try:
            return self._accept_signed(document)
        except CommandRefused as exc:
            is_urgent = not isinstance(exc, _ObeyedBefore)
            raise CommandRefused(str(exc), is_signed=True, is_urgent=is_urgent) from exc

    def _accept_signed(self, document: Mapping[str, Any]) -> Command:
        if document["account"] != self._account:
            raise CommandRefused("it is for another account")
        self._check_fresh(document)
        command = Command(
            verb=_verb(document["verb"]), reason=document["reason"], nonce=document["nonce"]
        )
        if command.verb not in self._verbs:
            raise CommandRefused(f"this topic takes {', '.join(sorted(self._verbs))} only")
        self._use_up(command)
        return command

    def _check_signature(self, document: Mapping[str, Any]) -> None:
        try:
            signature = base64.b64decode(document["sig"], validate=True)
            # The last letter has bits to spare: of all the ways to write them, one counts.
            if base64.b64encode(signature).decode() != document["sig"]:
                raise ValueError
        except (binascii.Error, ValueError):
            raise CommandRefused("the signature is not base64") from None
        signed = to_sign(self._topic, document)
        for key in self._keys:
            try:
                key.verify(signature, signed)
            except InvalidSignature:
                continue
            return
        raise CommandRefused("no known key signed it")

    def _check_fresh(self, document: Mapping[str, Any]) -> None:
        try:
            issued = dt.datetime.fromisoformat(document["issued_at"])
            age = (self._clock.now() - issued).total_seconds()
        except (ValueError, TypeError, OverflowError):
            raise CommandRefused("issued_at is no time with an offset") from None
        if not abs(age) <= FRESH_SECONDS:
            raise CommandRefused(
                f"it was issued {age:.0f} s ago by the daemon's clock, allowed are"
                f" {FRESH_SECONDS:.0f}; set the sender's clock, or use openbell kill"
            )

    def _use_up(self, command: Command) -> None:
        # A full disk keeps nobody from stopping; stopped twice is stopped.
        must_last = command.verb is not Verb.KILL
        try:
            is_new = self._nonces.use(command.nonce, self._clock.now(), must_last=must_last)
        except StorageError as exc:
            raise CommandRefused(str(exc)) from exc
        if not is_new:
            raise _ObeyedBefore("it was obeyed before")


def to_sign(topic: str, document: Mapping[str, Any]) -> bytes:
    """Return the bytes that a command's signature covers: its topic and all else in it."""
    rest = {name: value for name, value in document.items() if name != "sig"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{topic}\n{text}".encode()


def _document(payload: bytes) -> Mapping[str, Any]:
    if len(payload) > MOST_BYTES:
        raise CommandRefused(f"it has {len(payload)} bytes, {MOST_BYTES} are allowed")
    # Nesting is refused before the parser could run out of stack over it.
    if payload.count(b"{") + payload.count(b"[") > _MOST_BRACKETS:
        raise CommandRefused("it is nested")
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        raise CommandRefused("it is not JSON") from None
    if not isinstance(document, dict) or set(document) != _FIELDS:
        raise CommandRefused(f"it must have exactly the fields {', '.join(sorted(_FIELDS))}")
    texts = {name: value for name, value in document.items() if name != "v"}
    if document["v"] != VERSION or not all(isinstance(text, str) for text in texts.values()):
        raise CommandRefused(f"v must be {VERSION} and everything else text")
    if len(document["nonce"]) not in _NONCE_LENGTHS or not document["nonce"].isalnum():
        raise CommandRefused("the nonce must have 16 to 64 letters and digits")
    if len(document["reason"]) > _LONGEST_REASON:
        raise CommandRefused(f"the reason may have {_LONGEST_REASON} characters")
    return document


def _verb(text: str) -> Verb:
    try:
        return Verb(text)
    except ValueError:
        raise CommandRefused(f"{text[:20]!r} is no verb: {', '.join(Verb)}") from None


def check_keys(keys: Sequence[str]) -> None:
    """Refuse keys that no signature could be checked with.

    Raises:
        ConfigError: one is no Ed25519 public key in base64.
    """
    for text in keys:
        _public_key(text)


def _public_key(text: str) -> Ed25519PublicKey:
    try:
        raw = base64.b64decode(text, validate=True)
        if len(raw) != _KEY_BYTES:
            raise ValueError
        return Ed25519PublicKey.from_public_bytes(raw)
    except (binascii.Error, ValueError):
        raise ConfigError(
            f"mqtt.command_public_keys: {text[:12]!r}... is no Ed25519 public key of 32 bytes in"
            " base64"
        ) from None
