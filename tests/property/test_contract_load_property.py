"""Whatever stands in the file: a contract, or sentences. Never anything else."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.contract import Contract
from evalkit.contract.globs import matches, may_reach
from evalkit.contract.mistakes import key_names, table_model
from evalkit.contract.schema import Standalone
from evalkit.contract.units import format_duration, format_size, parse_duration, parse_size
from evalkit.errors import ContractError

SETTINGS = settings(derandomize=True, deadline=None, max_examples=200)


def words(table):
    for name, info in key_names(table).items():
        yield name
        inner, _ = table_model(info)
        if inner is not None:
            yield from words(inner)


WORDS = sorted({*words(Standalone), "loss", "tool", "x"})
TEXTS = ["minimize", "train.py", "score.py", "loss", "60s", "4GiB", "5%", "../x", "**", "vault", "", r"\u0000", "(a)"]
OTHERS = ["0", "-1", "1.5", "nan", "inf", "true", "2027-01-31", "07:32:00", "9" * 400, "1e400"]
SCALARS = st.sampled_from([*(f'"{text}"' for text in TEXTS), *OTHERS])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(WORDS), inner, max_size=3).map(
            lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
        ),
    ),
    max_leaves=4,
)
KEYS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(".".join)
LINES = st.one_of(
    st.tuples(KEYS, VALUES).map(" = ".join),
    KEYS.map("[{}]".format),
    KEYS.map("[[{}]]".format),
    st.sampled_from(["[evalkit]", "[metric.loss]", "[budget]", 'goal = "minimize"', 'editable = ["train.py"]']),
)


def load(text):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("train.py", "score.py"):
            (root / name).touch()
        file = root / "evalkit.toml"
        file.write_text(text)
        try:
            return Contract.load(file)
        except ContractError as error:
            found = error.mistakes
        for mistake in found:
            assert mistake.where.startswith(str(file))
            assert "\n" not in str(mistake)
        assert found
        return None


@SETTINGS
@given(st.lists(LINES, max_size=8))
def test_any_keys_with_any_values(lines):
    load("\n".join(lines))


@SETTINGS
@given(st.dictionaries(st.sampled_from(WORDS), st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=3), max_size=6))
def test_any_tables(tables):
    lines = [f"[{name}]\n" + "\n".join(f"{k} = {v}" for k, v in pairs.items()) for name, pairs in tables.items()]
    load("\n".join(lines))


@SETTINGS
@given(st.sampled_from(sorted(key_names(table_model(key_names(Standalone)["metric"])[0]))), VALUES)
def test_a_contract_that_loads_is_one_that_can_be_hashed(key, value):
    base = {
        "goal": '"minimize"',
        "run": '["python", "train.py"]',
        "artifacts": '["m"]',
        "score": '["python", "score.py"]',
    }
    pairs = "\n".join(f"{name} = {text}" for name, text in {**base, key: value}.items())
    contract = load(f'[evalkit]\neditable = ["train.py"]\n[metric.loss]\n{pairs}\n')
    if contract is not None:
        assert len(contract.digest) == 64


@SETTINGS
@given(st.integers(1, 10**15))
def test_milliseconds_survive_being_written(milliseconds):
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds


@SETTINGS
@given(
    st.one_of(st.integers(1, 10**6), st.integers(1, 1 << 22).flatmap(lambda n: st.sampled_from([n << 20, n * 10**6])))
)
def test_sizes_survive_being_written(size):
    assert parse_size(format_size(size)) == size


NAMES = st.lists(st.text("ab.", min_size=1, max_size=2), min_size=1, max_size=4)
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "**", "?", "[ab]", "a*"]), min_size=1, max_size=4).map("/".join)


@SETTINGS
@given(PATTERNS, NAMES, NAMES)
def test_a_glob_that_fits_something_below_a_folder_reaches_it(pattern, folder, below):
    if matches("/".join(folder + below), [pattern]):
        assert may_reach(pattern, "/".join(folder))
