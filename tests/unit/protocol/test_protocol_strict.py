import pytest

from evalkit.protocol.strict import MAX_BYTES, StrictJSONError, loads


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b'{"a": -Infinity}', "Infinity"),
        (b"1e999", "finite"),
        (b"-1e400", "finite"),
        (b'{"a":1,"a":2}', "twice"),
        (b'{"x":{"a":1,"a":2}}', "twice"),
        (b"1 2", "Extra data"),
        (b"{}{}", "Extra data"),
        (b"", "Expecting value"),
        (b"\xff", "UTF-8"),
        (b"\xef\xbb\xbf1", "character 0"),
        (b"[" * 33 + b"]" * 33, "deep"),
        (b"[" * 3000, "deep"),
        (b"9" * 401, "digits"),
        (b"-" + b"9" * 5000, "more than"),
        (b" " * (MAX_BYTES + 1), "more than"),
        (rb'"\ud800"', "surrogate"),
        (rb'{"\udfff": 1}', "surrogate"),
        (rb'{"a": ["\udc00\ud800"]}', "surrogate"),
    ],
)
def test_refused_with_a_reason(data, said):
    with pytest.raises(StrictJSONError, match=said):
        loads(data)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b" 1 ", 1),
        (b"-0.0", -0.0),
        (b"1e308", 1e308),
        (b"5e-324", 5e-324),
        (b"[]", []),
        (rb'"\ud83d\ude00"', "\U0001f600"),
    ],
)
def test_accepted(data, value):
    assert loads(data) == value


def test_caps_are_the_callers():
    assert loads(b"[[1]]", max_depth=2) == [[1]]
    with pytest.raises(StrictJSONError):
        loads(b"[[1]]", max_depth=1)
    with pytest.raises(StrictJSONError):
        loads(b"12345", max_bytes=4)
    assert len(loads(b"[" + b"1," * 100_000 + b"1]", max_bytes=1 << 20)) == 100_001


def test_very_deep_nesting_is_refused_whatever_the_cap():
    with pytest.raises(StrictJSONError, match="deep"):
        loads(b"[" * 200_000 + b"]" * 200_000, max_bytes=1 << 20, max_depth=1 << 20)
