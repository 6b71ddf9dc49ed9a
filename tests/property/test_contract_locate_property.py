"""The scanner against tomllib: the same paths, and each at the line where it comes into being."""

import tomllib
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.contract.locate import locate

SETTINGS = settings(derandomize=True, deadline=None, max_examples=150)

BARE = st.text("abcXYZ019_-", min_size=1, max_size=3)
QUOTED = st.text(st.characters(codec="utf-8", exclude_characters="\r\x7f", min_codepoint=32), max_size=3).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
LITERAL = st.text('a"#.=[] {},\\', max_size=3).map(lambda text: f"'{text}'")
KEY = st.one_of(BARE, BARE, QUOTED, LITERAL)
SPACE = st.sampled_from(["", " ", "\t", "  "])
DOTTED = st.lists(KEY, min_size=1, max_size=3).flatmap(lambda keys: SPACE.map(lambda gap: f"{gap}.{gap}".join(keys)))
BREAK = st.sampled_from(["\n", "\r\n", "\n\n", ' # note ] } = "\n', "\r\n  \t# x\r\n"])
GAP = st.one_of(SPACE, SPACE, BREAK)
LONG = st.text('ab"\n#[]=\\', max_size=6)
SCALAR = st.one_of(
    st.sampled_from(
        ["1", "-0.5e3", "true", "inf", "0xFF", "1979-05-27", "1979-05-27 07:32:00", "07:32:00", "''", '""']
    ),
    QUOTED,
    LITERAL,
    LONG.map(lambda text: '"""' + text.replace("\\", "\\\\").replace('"', '\\"') + '"""'),
    st.text("a\n#'\"[]=", max_size=6).map(lambda text: "'''" + text.replace("'''", "") + "'''"),
    st.sampled_from(['"""x"""""', "'''y''''", '""""""', '"""\\\n  z"""']),
)


def array(inner):
    element = st.tuples(GAP, inner, GAP).map("".join)
    return st.tuples(st.lists(element, max_size=3), st.sampled_from(["", ",", ",\n"])).map(
        lambda parts: "[" + ",".join(parts[0]) + (parts[1] if parts[0] else "\n") + "]"
    )


def inline(inner):
    pair = st.tuples(SPACE, DOTTED, SPACE, st.just("="), SPACE, inner, SPACE).map("".join)
    return st.lists(pair, max_size=3).map(lambda pairs: "{" + ",".join(pairs) + "}")


VALUE = st.recursive(SCALAR, lambda inner: st.one_of(array(inner), inline(inner)), max_leaves=6)
PAIR = st.tuples(SPACE, DOTTED, SPACE, st.just("="), SPACE, VALUE, SPACE, BREAK).map("".join)
HEADER = st.tuples(st.sampled_from(["[{}]", "[[{}]]", "[ {} ]"]), DOTTED, BREAK).map(lambda p: p[0].format(p[1]) + p[2])
DOCUMENT = st.lists(st.one_of(PAIR, PAIR, HEADER), max_size=12)


def legal(statements):
    """The document made of those statements that tomllib accepts, one after the other."""
    text = ""
    for statement in statements:
        try:
            tomllib.loads(text + statement)
        except ValueError:
            continue
        text += statement
    return text


def paths(value, path=()):
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from paths(inner, (*path, key))


def parsed(text):
    try:
        return tomllib.loads(text)
    except ValueError:
        return None


@SETTINGS
@given(DOCUMENT)
def test_the_scanner_finds_what_tomllib_finds(statements):
    text = legal(statements)
    assert set(locate(text).lines) == set(paths(tomllib.loads(text)))


@SETTINGS
@given(DOCUMENT)
def test_a_path_is_not_there_before_its_line_and_is_there_after_it(statements):
    text = legal(statements)
    lines = text.split("\n")
    prefixes = {n: document for n in range(len(lines) + 1) if (document := parsed("\n".join(lines[:n]))) is not None}
    known = {n: set(paths(document)) for n, document in prefixes.items()}
    for path, line in locate(text).lines.items():
        assert all(path not in found for n, found in known.items() if n < line)
        first_whole = min(n for n in known if n >= line)
        assert path in known[first_whole]


@SETTINGS
@given(st.text("ab.\"'[]{}=,# \n\r\t1\\", max_size=40))
def test_any_text_ends_in_positions_or_a_plain_error(text):
    document = parsed(text)
    if document is not None:
        assert set(locate(text).lines) == set(paths(document))
        return
    with suppress(ValueError):
        locate(text)
