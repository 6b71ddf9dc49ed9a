import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evalkit.protocol.strict import StrictJSONError, loads

quiet = settings(derandomize=True, deadline=None, max_examples=300)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
tokens = st.lists(
    st.sampled_from(
        ["{", "}", "[", "]", ":", ",", '"a"', '"b"', "NaN", "Infinity", "-Infinity", "1", "-0", "1e400", "-1e999",
         "0.5",
         "01", "+1", "1.", ".5", "true", "false", "null", " ", "\n", "\ufeff", '"\\ud800"', '"\\u0000"', "\x00", "'a'",
         "//", "1e5", '"\\x"']
    ),
    max_size=14,
).map("".join)  # fmt: skip


def finite(value):
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    return all(map(finite, value)) if isinstance(value, list) else True


def encodable(value):
    """Whether every text in it can be written as UTF-8."""
    json.dumps(value, ensure_ascii=False).encode()
    return True


def check(data):
    try:
        value = loads(data)
    except StrictJSONError:
        return
    plain = json.loads(data)
    assert value == plain
    assert repr(value) == repr(plain)
    assert finite(value)
    assert encodable(value)


@quiet
@given(st.binary(max_size=60))
def test_any_bytes(data):
    check(data)


@quiet
@given(tokens)
@example('"\\ud800"')
@example('{"\\udfff": 1}')
def test_anything_that_looks_like_json(text):
    check(text.encode("utf-8", "surrogatepass"))


@quiet
@given(values, st.booleans())
def test_what_json_writes_is_read_back(value, ascii_only):
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert repr(loads(data, max_bytes=1 << 20)) == repr(json.loads(data))


@quiet
@given(st.integers(1, 40), st.sampled_from(["[", '{"a":']), st.integers(1, 40))
def test_depth_is_counted_exactly(depth, opening, limit):
    closing = "]" if opening == "[" else "}"
    data = (opening * depth + "1" + closing * depth).encode()
    if depth <= limit:
        loads(data, max_depth=limit)
    else:
        with pytest.raises(StrictJSONError):
            loads(data, max_depth=limit)


@quiet
@given(st.text('["{\\}]ab', max_size=40))
def test_brackets_inside_texts_are_not_depth(text):
    assert loads(json.dumps([text]).encode(), max_depth=1, max_bytes=1 << 12) == [text]


@quiet
@given(st.dictionaries(texts, st.integers(), min_size=1, max_size=5), st.data())
def test_a_key_that_stands_there_twice_is_refused(document, data):
    twice = data.draw(st.sampled_from(sorted(document)))
    pairs = [*document.items(), (twice, 7)]
    text = "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in pairs) + "}"
    with pytest.raises(StrictJSONError, match="twice"):
        loads(text.encode(), max_bytes=1 << 12)
