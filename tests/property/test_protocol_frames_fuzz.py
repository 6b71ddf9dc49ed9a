import io
import os

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from evalkit.protocol.frames import FrameError, decode, encode, pack, read_frame

quiet = settings(derandomize=True, deadline=None, max_examples=120)

plain = (
    npst.boolean_dtypes()
    | npst.integer_dtypes()
    | npst.floating_dtypes(sizes=(16, 32, 64))
    | npst.complex_number_dtypes()
)
arrays = npst.arrays(plain, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))


@quiet
@given(arrays, st.booleans())
def test_arrays_come_back_as_they_were(array, fortran):
    sent = np.asfortranarray(array) if fortran and array.ndim else array
    back = decode(encode(sent))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


@quiet
@given(arrays, st.data())
def test_a_changed_array_is_refused_or_is_an_array_of_plain_numbers(array, data):
    body = bytearray(encode(array))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(1, len(body) - 1))
        body[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        body = body[: data.draw(st.integers(0, len(body)))]
    survives(bytes(body))


@quiet
@given(st.binary(max_size=80))
@example(b"N")
@example(b"J")
@example(b"")
@example(b"N\x93NUMPY\x01\x00\xff\xff")
@example(b"N\x93NUMPY\x02\x00\xff\xff\xff\xff{")
@example(b"N\x93NUMPY\x03\x00\x00\x00\x00\x00")
def test_any_body(body):
    survives(body)


def survives(body):
    try:
        value = decode(body)
    except FrameError:
        return
    if isinstance(value, np.ndarray):
        assert value.dtype.kind in "biufc"
        assert value.nbytes <= len(body)


def npy(header, data=b"", version=(1, 0)):
    text = header.encode("latin-1") + b"\n"
    length = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"N\x93NUMPY" + bytes(version) + length + text + data


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"\x80\x04."),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }", b"\0" * 8),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", b""),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1), }", b"\0" * 8),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693952, 8), }", b""),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", b"\0" * 9),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1.0,), }", b"\0" * 8),
        ("{'descr': '<U4', 'fortran_order': False, 'shape': (1,), }", b"\0" * 16),
        ("{'descr': '|V8', 'fortran_order': False, 'shape': (1,), }", b"\0" * 8),
        ("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", b"\0" * 8),
        ("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,), }", b"\0" * 8),
        ("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1,), }", b"\0" * 8),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'more': 1}", b"\0" * 8),
        ("__import__('os').system('true')", b""),
        ("(" * 5000, b""),
        ("{'descr': '<f8'", b""),
    ],
)
def test_arrays_that_are_not_plain_numbers_are_refused(header, data):
    for version in ((1, 0), (2, 0)):
        with pytest.raises(FrameError):
            decode(npy(header, data, version))


def test_a_pickle_is_never_loaded():
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FrameError):
        decode(b"N" + buffer.getvalue())
    with pytest.raises(ValueError, match="Object arrays"):
        encode(np.array([{}], dtype=object))


def pipe_with(data):
    """A pipe that holds bytes and has ended."""
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    return read


def frames_in(data, **options):
    """The frames in a stream, and how it ended."""
    pipe, found = pipe_with(data), []
    try:
        while (frame := read_frame(pipe, **options)) is not None:
            found.append(frame)
    except (FrameError, EOFError) as error:
        return found, type(error)
    finally:
        os.close(pipe)
    return found, None


parts = st.lists(st.tuples(st.sampled_from([b"Q", b"A", b"R"]), st.binary(min_size=1, max_size=40)), max_size=5)


@quiet
@given(parts)
def test_frames_come_back_in_order(sent):
    stream = b"".join(pack(kind, body) for kind, body in sent)
    assert frames_in(stream) == (sent, None)


@quiet
@given(parts.filter(len), st.data())
def test_a_stream_that_is_cut_is_never_taken_for_whole(sent, data):
    stream = b"".join(pack(kind, body) for kind, body in sent)
    cut = data.draw(st.integers(0, len(stream) - 1))
    found, ended = frames_in(stream[:cut])
    assert found == sent[: len(found)]
    whole = sum(len(pack(*frame)) for frame in found)
    assert ended is (None if whole == cut else EOFError)


@quiet
@given(st.binary(max_size=200))
def test_garbage_ends_in_an_error_or_in_frames_within_the_cap(data):
    found, _ = frames_in(data, max_bytes=50)
    assert all(2 <= len(kind) + len(body) <= 50 for kind, body in found)


def test_a_frame_beyond_the_cap_is_refused_before_it_is_read():
    assert frames_in(pack(b"A", b"x" * 100), max_bytes=100) == ([], FrameError)
    assert frames_in(pack(b"A", b"x" * 99), max_bytes=100) == ([(b"A", b"x" * 99)], None)
    assert frames_in(b"\xff\xff\xff\xffA") == ([], FrameError)
    assert frames_in(b"\0\0\0\0") == ([], FrameError)
    assert frames_in(b"\0\0\0\1A") == ([], FrameError)


@quiet
@given(st.recursive(st.integers() | st.text("aé\U0001f600", max_size=4), lambda inner: st.lists(inner, max_size=3)))
def test_json_values_come_back(value):
    assert decode(encode(value)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_what_is_no_json_is_not_sent(value):
    with pytest.raises((ValueError, TypeError)):
        encode(value)
