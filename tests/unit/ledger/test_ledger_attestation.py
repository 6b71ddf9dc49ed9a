"""Attestations are refused for each reason there is, and say which."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from evalkit.errors import UsageError
from evalkit.ledger.attestation import (
    AttestationError,
    Expected,
    check,
    load_private_key,
    load_public_key,
    new_key,
    sign,
    statement,
)

TREE, BASE, CONTRACT = "a" * 40, "b" * 40, "c" * 64
NOW = datetime(2030, 1, 1, tzinfo=UTC)
VERDICT = {
    "decision": "KEEP", "experiment": 3, "candidate": TREE, "incumbent": BASE, "contract": CONTRACT, "unsafe": "",
    "environment": "d" * 64, "sandbox": "bubblewrap", "trust": "scored", "reason": "improved", "sentence": "better",
    "effect": {"mean": 0.5, "low": 0.1, "high": 0.9, "pairs": 8}, "evaluations": 16, "level": 0.05, "scale": "linear",
    "statistics": {"objective": {"log_e": 4.5, "pairs": 8}},
}  # fmt: skip


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    new_key(folder / "one")
    new_key(folder / "two")
    return folder


def _signed(keys, **changes):
    document = statement({**VERDICT, **changes}, ledger_head="e" * 64, records=9, days=2, now=NOW)
    return sign(document, load_private_key(keys / "one"))


def _expected(**changes):
    return Expected(**{"tree": TREE, "contract": CONTRACT, "incumbent": BASE, "now": NOW, **changes})


def _check(keys, envelope, expected=None, name="one"):
    return check(envelope, [load_public_key(keys / f"{name}.pub")], expected or _expected())


def test_what_was_signed_is_what_is_relied_on(keys):
    document = _check(keys, _signed(keys))
    assert document["subject"][0]["digest"] == {"gitTree": TREE}
    assert document["predicate"]["ledger"] == {"head": "e" * 64, "records": 9}
    assert document["predicate"]["evidence"]["log_e"] == 4.5


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("wrong_tree", {"tree": "f" * 40}),
        ("wrong_contract", {"contract": "f" * 64}),
        ("replayed", {"incumbent": "f" * 40}),
        ("expired", {"now": NOW + timedelta(days=2)}),
        ("not_yet", {"now": NOW - timedelta(days=1)}),
    ],
)
def test_what_it_is_not_about_is_refused(keys, reason, changes):
    with pytest.raises(AttestationError) as caught:
        _check(keys, _signed(keys), _expected(**changes))
    assert caught.value.reason == reason


def test_an_unsafe_verdict_needs_to_be_allowed(keys):
    envelope = _signed(keys, unsafe="UNSAFE: no sandbox")
    with pytest.raises(AttestationError) as caught:
        _check(keys, envelope)
    assert caught.value.reason == "unsafe"
    assert _check(keys, envelope, _expected(allow_unsafe=True))


def test_another_key_is_refused(keys):
    with pytest.raises(AttestationError) as caught:
        _check(keys, _signed(keys), name="two")
    assert caught.value.reason == "wrong_key"


def test_every_edited_byte_is_seen(keys):
    envelope = json.loads(_signed(keys))
    payload = bytearray(base64.b64decode(envelope["payload"]))
    for place in range(0, len(payload), 37):
        edited = bytes(payload[:place]) + bytes([payload[place] ^ 1]) + bytes(payload[place + 1 :])
        forged = json.dumps({**envelope, "payload": base64.b64encode(edited).decode()}).encode()
        with pytest.raises(AttestationError) as caught:
            _check(keys, forged)
        assert caught.value.reason == "edited"


def test_a_signature_over_other_content_is_no_signature(keys):
    one, other = json.loads(_signed(keys)), json.loads(_signed(keys, experiment=4))
    forged = json.dumps({**one, "signatures": other["signatures"]}).encode()
    with pytest.raises(AttestationError) as caught:
        _check(keys, forged)
    assert caught.value.reason == "edited"


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b"null", b'{"payload": 1}', b"\xff", b'{"payloadType":"x","payload":"","signatures":[]}']
)
def test_what_is_no_envelope_is_refused(keys, raw):
    with pytest.raises(AttestationError) as caught:
        _check(keys, raw)
    assert caught.value.reason == "malformed"


def test_only_a_keep_is_signed():
    with pytest.raises(UsageError, match="only a KEEP"):
        statement({**VERDICT, "decision": "REJECT"}, ledger_head="", records=0)


def test_a_key_is_no_one_elses_business(keys, tmp_path):
    with pytest.raises(UsageError, match="inside the repository"):
        new_key(tmp_path / "key", repository=tmp_path)
    with pytest.raises(UsageError, match="can't be written"):
        new_key(keys / "one")
    new_key(tmp_path / "open")
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(UsageError, match="read by others"):
        load_private_key(tmp_path / "open")
