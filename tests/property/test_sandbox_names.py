"""Names and streams of any shape."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.sandbox.artifacts import ArtifactForbidden, ArtifactMissing, check_name, collect
from evalkit.sandbox.capture import Capture
from evalkit.sandbox.proxy import Destination, HostList

pytestmark = pytest.mark.sandbox


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=60))
def test_no_name_leads_out_of_the_workspace(tmp_path_factory, raw):
    folder = tmp_path_factory.mktemp("names")
    (folder / "secret").write_text("secret")
    box = folder / "box"
    box.mkdir()
    descriptor = os.open(box, os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises((ArtifactMissing, ArtifactForbidden, ValueError)):
            collect(descriptor, os.fsdecode(raw), 100)
    finally:
        os.close(descriptor)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(["a", "..", ".", "", "b", "\0", "x" * 300]), min_size=1, max_size=6))
def test_names_that_pass_have_only_plain_parts(parts):
    name = "/".join(parts)
    try:
        check_name(name)
    except ValueError:
        return
    assert all(part not in ("", ".", "..") for part in name.split("/"))
    assert "\0" not in name


@settings(derandomize=True, deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(0, 40))
def test_capture_keeps_the_head_and_the_tail_of_what_was_written(chunks, kept):
    capture = Capture(kept)
    for chunk in chunks:
        capture.feed(chunk)
    whole, seen = b"".join(chunks), capture.result()
    assert seen.total == len(whole)
    assert seen.head == whole[:kept]
    rest = whole[kept:]
    assert seen.tail == (rest[-kept:] if kept else b"")


@settings(derandomize=True, deadline=None)
@given(st.text(max_size=40))
def test_a_destination_is_a_host_or_refused(text):
    try:
        wanted = Destination.parse(text, 443)
    except ValueError:
        return
    assert wanted.host
    assert 0 < wanted.port < 65536
    assert not HostList(()).allows(wanted)
