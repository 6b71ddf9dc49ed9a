"""Whatever the file looks like, changing one literal changes the bytes of that literal and no other."""

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.loop.literals import find_literals, with_literal

quiet = settings(derandomize=True, deadline=None, max_examples=30)

names = st.sampled_from(["RATE", "depth", "alpha", "use_it"])
literals = st.sampled_from(
    ["0", "1", "-3", "1_000", "0x10", "0.5", "1e-3", "5.", ".25", "True", "False", "1E5", "0b101"]
)
lines = st.one_of(
    st.builds("{} = {}".format, names, literals),
    st.builds("{}: float = {}  # a setting".format, names, literals),
    st.builds("f({}, key={}, **more)".format, literals, literals),
    st.builds("x = [{}, {}, table[{}]]".format, literals, literals, literals),
    st.builds("if {}  <  {}:\n\ty = {}".format, names, literals, literals),
    st.builds("def g(a={}, *, b={}):\n    return a +  {}".format, literals, literals, literals),
    st.builds("class C:\n    size = {}\n    def m(self):\n        return {}".format, literals, literals),
    st.just("text = 'é 0.5 \U0001f600'  # 7"),
    st.just(""),
    st.just("\f"),
    st.just("z = (\n  1,\n\n  2 ,)"),
    st.just("lam = lambda q=3: q ** 2"),
    st.just("s = f'{1.5:>{8}} and {x!r}'"),
)
sources = st.builds(
    lambda parts, end, last, start: start + end.join("\n".join(parts).split("\n")) + (end if last else ""),
    st.lists(lines, min_size=1, max_size=6),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.sampled_from(["", "# -*- coding: utf-8 -*-\n", "#!/usr/bin/env python\n\n", "\n\n"]),
)


@quiet
@given(sources, st.data())
def test_every_other_byte_stays(source, data):
    found = find_literals(source)
    if not found:
        return
    one = data.draw(st.sampled_from(found))
    changed = with_literal(source, one.key, not one.value if isinstance(one.value, bool) else 12345)
    ast.parse(changed)
    before, after = source.encode(), changed.encode()
    common = 0
    while common < min(len(before), len(after)) and before[common] == after[common]:
        common += 1
    tail = 0
    while tail < min(len(before), len(after)) - common and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    gone = before[common : len(before) - tail].decode()
    assert all(c.isalnum() or c in "._+-" for c in gone), gone
    assert before[:common].count(b"\n") + 1 == one.line
    assert len(find_literals(changed)) == len(found)


@quiet
@given(sources)
def test_keys_are_unique_and_the_same_value_changes_nothing_but_its_spelling(source):
    found = find_literals(source)
    assert len({one.key for one in found}) == len(found)
    for one in found[:3]:
        again = find_literals(with_literal(source, one.key, one.value))
        assert [(other.key, other.value, other.line) for other in again] == [
            (other.key, other.value, other.line) for other in found
        ]


def test_an_unknown_key_is_refused():
    with pytest.raises(KeyError):
        with_literal("x = 1\n", "y", 2)
