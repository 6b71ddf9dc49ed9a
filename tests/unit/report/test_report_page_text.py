import pytest

from evalkit.report.page_text import cut, decimals, effect_text, interval_text, signed, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Grüße, 日本語, −3 ≤ x", "plain, Grüße, 日本語, −3 ≤ x"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("evil\u202edrow", "evil⟦U+202E⟧drow"),
        ("bell\x07 null\x00 escape\x1b[31m", "bell⟦U+0007⟧ null⟦U+0000⟧ escape⟦U+001B⟧[31m"),
        ("zero\u200bwidth", "zero⟦U+200B⟧width"),
        ("hangul\u3164filler", "hangul⟦U+3164⟧filler"),
        ("tag\U000e0041", "tag⟦U+E0041⟧"),
        ("variation\ufe0f", "variation⟦U+FE0F⟧"),
        ("surrogate\udc80", "surrogate⟦U+DC80⟧"),
        ("carriage\rreturn", "carriage⟦U+000D⟧return"),
        ("nbsp\u00a0", "nbsp⟦U+00A0⟧"),
        ("line\u2028sep", "line⟦U+2028⟧sep"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text, shown):
    assert visible(text) == shown


def test_marks_do_not_pile_up():
    assert visible("a" + "\u0301" * 500) == "a" + "\u0301" * 3


def test_text_is_cut_on_one_line():
    assert cut("a  b\nc", 10) == "a b c"
    assert cut("abcdefghij", 5) == "abcd…"
    assert len(cut("x " * 10**6, 40)) == 40


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (0.0123456, "linear", "+0.0123"),
        (-0.5, "linear", "−0.500"),
        (0.0, "linear", "0"),
        (1234.5, "linear", "+1234"),
        (2e-7, "linear", "+2.00e-07"),
        (-3e9, "linear", "−3.00e+09"),
        (0.0213, "log", "+2.13 %"),
        (-0.5, "log", "−50.0 %"),
    ],
)
def test_differences_carry_a_sign_and_three_digits(value, scale, text):
    assert signed(value, scale) == text


def test_a_column_shares_its_decimals():
    places = decimals(0.0611, "linear")
    assert [signed(value, "linear", places) for value in (0.18881, -0.00875, 2e-7)] == ["+0.189", "−0.009", "0.000"]
    assert signed(0.012345, "log", decimals(0.021, "log")) == "+1.2 %"
    assert decimals(0.0, "linear") is None
    assert decimals(3e9, "linear") is None
    assert decimals(250.0, "linear") == 0


def test_intervals_may_be_open():
    assert interval_text(None, 0.25, "linear") == "[−∞, +0.250]"
    assert effect_text(0.1, 0.05, None, "log") == "+10.0 % [+5.00 %, ∞]"
