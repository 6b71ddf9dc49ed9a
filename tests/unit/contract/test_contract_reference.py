import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from evalkit.contract import model
from evalkit.contract.mistakes import key_names
from evalkit.contract.reference import TABLES, as_markdown, as_text, rows
from evalkit.contract.schema import Standalone

PAGE = Path(__file__).parents[3] / "docs" / "contract.md"


def test_the_page_has_the_reference_as_the_schema_gives_it():
    assert PAGE.read_text(encoding="utf-8").endswith(as_markdown()), (
        "docs/contract.md lags behind the schema: put evalkit.contract.reference.as_markdown() at its end"
    )


def test_every_key_has_a_meaning_a_default_and_an_example():
    for row in rows():
        assert row.means, row
        assert row.default, row
        tomllib.loads(f"value = {row.example}")


def test_every_default_has_a_reason():
    without = [f"{row.table}.{row.key}" for row in rows() if not row.why and row.default != "it must be there"]
    assert without == []


def test_constant_defaults_are_the_models(folder, smallest):
    contract = folder.load(smallest)
    text = smallest
    for header in ("[budget]", "[splits]", "[policy]", "[proposer]", "[sandbox]"):
        constants = [f"{row.key} = {row.default}" for row in rows() if row.table == header and row.constant]
        text += "\n".join((header, *constants, ""))
    assert folder.load(text) == contract


@pytest.mark.parametrize("header", [name for name, table in TABLES.items() if table.settings])
def test_the_schema_and_the_model_have_the_same_keys(header):
    table = TABLES[header]
    known = set(key_names(table))
    settings = {field.name for field in fields(table.settings)}
    if table.settings is model.Metric:
        known -= {"run", "artifacts", "serve", "score", "with"}
        settings -= {"name", "program", "trust"}
    if table.settings is model.GuardSettings:
        known = known - {"suppress"} | {"suppressed"}
    assert known == settings


def test_every_table_of_the_file_is_in_the_reference():
    named = {header.strip("[]").partition(".")[0] for header in TABLES}
    assert named == set(key_names(Standalone))


def test_the_text_has_every_key():
    text = as_text()
    for row in rows():
        assert f"  {row.key}" in text
    assert 'wall = "10m"' in text


def test_the_pages_examples_are_true(folder):
    page = PAGE.read_text(encoding="utf-8")
    smallest = page.partition("```toml\n")[2].partition("```")[0]
    assert folder.load(smallest).budget.memory == 4 << 30
    wrong = """[evalkit]\neditable = ["train.py"]\n
[metric.val_bpb]\ngoal = "minimize"\nrun = "python train.py"\n\n\n[budget]\nwal = "60s"\n"""
    shown = page.partition("```text\n")[2].partition("```")[0].splitlines()[1:]
    found = [f"  evalkit.toml:{mistake}" for mistake in folder.mistakes(wrong)]
    assert found == shown
