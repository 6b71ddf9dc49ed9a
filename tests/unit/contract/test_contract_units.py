import pytest

from evalkit.contract import Margin
from evalkit.contract.units import (
    UnitError,
    format_duration,
    format_margin,
    format_size,
    parse_duration,
    parse_margin,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60.0), ("2m", 120.0), ("1h30m", 5400.0), ("500ms", 0.5), ("0.5s", 0.5), ("1h0.5s", 3600.5)],
)
def test_times(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [60, 0.5, True, None, "", "60", "s", "0s", "-1s", "+1s", "1 s", "1S", "1s1m", "1s1s", "1e3s", "infs", "nans", "١s"],
)
def test_what_is_no_time(text):
    with pytest.raises(UnitError) as caught:
        parse_duration(text)
    assert '"60s"' in caught.value.expected


@pytest.mark.parametrize("text", ["1s\n", ".5s", "1.s", "1d", "9" * 40 + "s", ["60s"]])
def test_what_looks_like_a_time(text):
    with pytest.raises(UnitError) as caught:
        parse_duration(text)
    assert '"60s"' in caught.value.expected


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("512MB", 512_000_000), ("4GiB", 4 << 30), ("1.5KiB", 1536), ("1kB", 1000), ("1KB", 1000)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", [4, 1.5, True, "", "4", "4G", "4gib", "0B", "-1B", "1.5B", "0.3KiB", "9999999TiB", "1 GB", "1GB\n", "٤GB"]
)
def test_what_is_no_size(text):
    with pytest.raises(UnitError) as caught:
        parse_size(text)
    assert '"4GiB"' in caught.value.expected


@pytest.mark.parametrize(
    ("value", "margin"),
    [
        (0, Margin(0.0)),
        (0.01, Margin(0.01)),
        ("5%", Margin(0.05, relative=True)),
        ("0.1%", Margin(0.001, relative=True)),
    ],
)
def test_margins(value, margin):
    assert parse_margin(value) == margin


@pytest.mark.parametrize(
    "value", [-0.01, "-5%", "5", "5 %", "%", True, None, float("nan"), float("inf"), 10**400, [0.1]]
)
def test_what_is_no_margin(value):
    with pytest.raises(UnitError):
        parse_margin(value)


def test_amounts_print_as_people_write_them():
    assert [format_duration(x) for x in (600.0, 5400.0, 3600.0, 0.25, 61.0)] == ["10m", "90m", "1h", "0.25s", "61s"]
    assert [format_size(x) for x in (4 << 30, 512_000_000, 1000, 1023)] == ["4GiB", "512MB", "1kB", "1023B"]
    assert format_margin(Margin(0.05, relative=True)) == "5%"
    assert format_margin(Margin(0.01)) == "0.01"
