"""Attestations: a signed statement that a tree survived verification, for whoever merges without having watched.

An in-toto Statement (v1) inside a DSSE envelope (v1.0.2), signed with ed25519 (RFC 8032). The subject is a git tree,
not a commit: a rebase or a merge queue makes new commits of the same tree. The predicate says under which contract,
against which incumbent, in which environment, on what evidence, and where in which ledger that stands.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import EvalkitError, UsageError
from evalkit.ledger.canonical import canonical

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = [
    "PREDICATE_TYPE",
    "AttestationError",
    "Expected",
    "check",
    "key_id",
    "load_private_key",
    "load_public_key",
    "new_key",
    "sign",
    "statement",
]

PREDICATE_TYPE = "urn:evalkit:verdict:1"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_CAP = 1 << 20
_CLOCK_SKEW = timedelta(minutes=5)


class AttestationError(EvalkitError):
    """An attestation that is refused.

    Attributes:
        reason: ``malformed``, ``wrong_key``, ``edited``, ``wrong_tree``, ``wrong_contract``, ``replayed``, ``expired``,
            ``not_yet``, ``not_a_keep`` or ``unsafe``.
    """

    exit_code = 1

    def __init__(self, reason: str, message: str, way_out: str = "") -> None:
        super().__init__(message, way_out)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Expected:
    """What an attestation is held against.

    Attributes:
        tree: id of the tree that is to be merged.
        contract: digest of the contract in force.
        incumbent: id of the tree that it is merged into; empty where that is not to be checked.
        now: the time.
        allow_unsafe: whether a verdict from a sandbox that does not protect counts.
    """

    tree: str
    contract: str
    incumbent: str = ""
    now: datetime | None = None
    allow_unsafe: bool = False


def statement(
    verdict: Mapping[str, Any], *, ledger_head: str, records: int, days: float = 30.0, now: datetime | None = None
) -> dict[str, Any]:
    """What is to be signed about a KEEP.

    Args:
        verdict: as JSON.
        ledger_head: hash of the ledger's last record.
        records: how many it holds.
        days: for how long it is valid, above 0.
        now: the time of issue.

    Raises:
        UsageError: the verdict is no KEEP, or ``days`` is not above 0.
    """
    if verdict["decision"] != "KEEP":
        raise UsageError(f"experiment {verdict['experiment']} is {verdict['decision']}; only a KEEP is attested")
    if not 0.0 < days < 36500.0:  # noqa: PLR2004 - a century
        raise UsageError(f"{days:g} days is no validity", "give a number of days above 0")
    issued = now or datetime.now(UTC)
    evidence = {key: verdict.get(key) for key in ("reason", "sentence", "effect", "evaluations", "level", "scale")}
    statistics = (verdict.get("statistics") or {}).get("objective") or {}
    return {
        "_type": _STATEMENT_TYPE,
        "subject": [{"name": "tree", "digest": {"gitTree": verdict["candidate"]}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "decision": "KEEP",
            "experiment": verdict["experiment"],
            "incumbent": verdict["incumbent"],
            "contract": verdict["contract"],
            "environment": verdict["environment"],
            "sandbox": verdict["sandbox"],
            "unsafe": verdict["unsafe"],
            "trust": verdict["trust"],
            "evidence": {**evidence, "log_e": statistics.get("log_e"), "pairs": statistics.get("pairs")},
            "ledger": {"head": ledger_head, "records": records},
            "issued": _text(issued),
            "expires": _text(issued + timedelta(days=days)),
        },
    }


def sign(document: Mapping[str, Any], key: Ed25519PrivateKey) -> bytes:
    """The DSSE envelope of a statement, as JSON."""
    payload = canonical(document)
    signature = key.sign(_pre_authentication(payload))
    envelope = {
        "payloadType": _PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(envelope, indent=1).encode() + b"\n"


def check(envelope: bytes, keys: Iterable[Ed25519PublicKey], expected: Expected) -> dict[str, Any]:
    """The statement of an envelope that may be relied on.

    Args:
        envelope: bytes of the file.
        keys: trusted; one has to have signed.
        expected: what it has to be about.

    Raises:
        AttestationError: it is refused; says why.
    """
    payload = _signed_payload(envelope, {key_id(key): key for key in keys})
    document = _strict(payload, "its payload")
    if not isinstance(document, dict) or document.get("_type") != _STATEMENT_TYPE:
        raise AttestationError("malformed", "the payload is no in-toto statement")
    if document.get("predicateType") != PREDICATE_TYPE:
        raise AttestationError("malformed", f"the statement's type is {document.get('predicateType')!r:.80}, not ours")
    try:
        _hold_against(document, expected)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise AttestationError("malformed", f"the statement lacks what it needs: {error!r:.80}") from None
    return document


def _hold_against(document: Mapping[str, Any], expected: Expected) -> None:
    subjects = [subject["digest"]["gitTree"] for subject in document["subject"]]
    predicate = document["predicate"]
    if subjects != [expected.tree]:
        raise AttestationError(
            "wrong_tree",
            f"it is about the tree {str(subjects[0])[:12]}, not {expected.tree[:12]}",
            "verify this tree: `evalkit gate`",
        )
    if predicate["contract"] != expected.contract:
        raise AttestationError(
            "wrong_contract",
            f"it was given under the contract {str(predicate['contract'])[:12]}, not {expected.contract[:12]}",
            "verify the tree under the contract in force",
        )
    if expected.incumbent and predicate["incumbent"] != expected.incumbent:
        raise AttestationError(
            "replayed",
            f"it says that the tree is better than {str(predicate['incumbent'])[:12]}, but it is to replace "
            f"{expected.incumbent[:12]}",
            "verify the tree against what it is merged into",
        )
    _in_time(predicate, expected.now or datetime.now(UTC))
    if predicate["decision"] != "KEEP":
        raise AttestationError("not_a_keep", f"its verdict is {predicate['decision']!r:.40}")
    if predicate["unsafe"] and not expected.allow_unsafe:
        raise AttestationError("unsafe", f"its verdict says: {predicate['unsafe']}", "verify it in a sandbox")


def _in_time(predicate: Mapping[str, Any], now: datetime) -> None:
    issued, expires = (datetime.fromisoformat(predicate[name]) for name in ("issued", "expires"))
    if now + _CLOCK_SKEW < issued:
        raise AttestationError("not_yet", f"it was issued at {predicate['issued']}, which is still to come")
    if now >= expires:
        raise AttestationError("expired", f"it expired at {predicate['expires']}", "verify the tree again")


def _signed_payload(raw: bytes, keys: Mapping[str, Ed25519PublicKey]) -> bytes:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - loads late

    envelope = _strict(raw, "the envelope")
    try:
        kind, payload = envelope["payloadType"], base64.b64decode(envelope["payload"], validate=True)
        signatures = [(str(s["keyid"]), base64.b64decode(s["sig"], validate=True)) for s in envelope["signatures"]]
    except (KeyError, TypeError, binascii.Error, ValueError):
        raise AttestationError("malformed", "it is no DSSE envelope") from None
    if kind != _PAYLOAD_TYPE:
        raise AttestationError("malformed", f"its payload is {kind!r:.60}, not {_PAYLOAD_TYPE}")
    ours = [(keys[name], signature) for name, signature in signatures if name in keys]
    if not ours:
        names = ", ".join(name[:12] for name, _ in signatures) or "nobody"
        raise AttestationError("wrong_key", f"it is signed by {names}, whose key is not trusted here")
    for key, signature in ours:
        try:
            key.verify(signature, _pre_authentication(payload))
        except InvalidSignature:
            continue
        return payload
    raise AttestationError("edited", "its signature does not fit its content: one of them was changed")


def _strict(raw: bytes, what: str) -> Any:
    from evalkit.protocol.strict import StrictJSONError, loads  # noqa: PLC0415 - beside its only use

    try:
        return loads(raw, max_bytes=_CAP)
    except StrictJSONError as error:
        raise AttestationError("malformed", f"{what} is not strict JSON: {error}") from None


def _pre_authentication(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding (protocol.md, "Signature definition")."""
    kind = _PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def key_id(key: Ed25519PublicKey) -> str:
    """sha256 of the raw public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def new_key(file: Path, *, repository: Path | None = None) -> Path:
    """Make a key pair: ``file`` (only its owner can read it) and ``file.pub``.

    Args:
        file: must not be there yet.
        repository: a folder that the key must not lie in.

    Returns:
        The public key's file.

    Raises:
        UsageError: it is there already, lies inside the repository, or can't be written.
    """
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    _outside(file, repository)
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    target = file.with_name(file.name + ".pub")
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(private)
        target.write_bytes(public)
    except OSError as error:
        raise UsageError(
            f"the key {file} can't be written: {error.strerror}", "name a file that is not there"
        ) from None
    return target


def load_private_key(file: Path | None, *, repository: Path | None = None) -> Ed25519PrivateKey:
    """A signing key: PEM, from a file outside the repository or from ``EVALKIT_SIGNING_KEY``.

    Raises:
        UsageError: there is none, it lies inside the repository, others can read it, or it is no ed25519 key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    if file is None:
        raw, where = os.environ.get("EVALKIT_SIGNING_KEY", "").encode(), "EVALKIT_SIGNING_KEY"
        if not raw:
            raise UsageError("there is no key to sign with", "--key FILE, or set EVALKIT_SIGNING_KEY")
    else:
        _outside(file, repository)
        raw, where = _read(file), str(file)
        if file.stat().st_mode & 0o077:
            raise UsageError(f"{file} can be read by others", f"chmod 600 {file}")
    try:
        key = load_pem_private_key(raw, password=None)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{where} is no private key in PEM: {error}", "`evalkit attest --new-key FILE` makes one"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{where} is no ed25519 key", "`evalkit attest --new-key FILE` makes one")
    return key


def load_public_key(file: Path) -> Ed25519PublicKey:
    """A trusted key, PEM.

    Raises:
        UsageError: it can't be read, or is no ed25519 public key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(_read(file))
    except ValueError as error:
        raise UsageError(f"{file} is no public key in PEM: {error}", "give the .pub file") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{file} is no ed25519 key", "give the .pub file that `evalkit attest --new-key` wrote")
    return key


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()[:_CAP]
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}") from None


def _outside(file: Path, repository: Path | None) -> None:
    """A key that lies where candidates are cloned from is no secret."""
    if repository is not None and file.resolve().is_relative_to(repository.resolve()):
        raise UsageError(f"the key {file} lies inside the repository", "keep keys elsewhere, or in EVALKIT_SIGNING_KEY")
