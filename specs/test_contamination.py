"""What evalkit claims of its contamination checks and its splits, small enough to gate every change.

The full figures are those of ``python -m evalkit.bench overlap``.
"""

from __future__ import annotations

import random

import pytest

from evalkit.bench.overlap import figures_of_splits
from evalkit.bench.overlap_sources import FORMS as SOURCE_FORMS
from evalkit.bench.overlap_sources import source_figures
from evalkit.bench.overlap_texts import FORMS, data_folder, items, prose
from evalkit.overlap import Holdout, Problems, plan_shards, read_items
from evalkit.overlap.paraphrase import ParaphraseIndex

NEEDS_DATA = pytest.mark.skipif(data_folder() is None, reason="EVALKIT_DATA is not there")
LEAST_RECALL = {
    "verbatim": 1.0,
    "reformatted": 1.0,
    "5 % edited": 0.98,
    "light paraphrase": 0.96,
    "truncated to half": 0.75,
}


@pytest.fixture(scope="module")
def holdout() -> Holdout:
    return Holdout(items(3000)[0])


@pytest.mark.parametrize("form", FORMS)
def test_leaks_are_found(form: str, holdout: Holdout) -> None:
    rng = random.Random(form)
    owners = holdout.owners()
    chosen = rng.sample([item for item in holdout.items if len(item.text) >= 60], 150)
    found = 0
    for item in chosen:
        seen = holdout.find_in(f"Before it. {FORMS[form](item.text, rng)} After it.".encode())
        found += item.id in {holdout.items[number].id for unit in seen for number in owners.get(unit, ())}
    assert found / len(chosen) >= LEAST_RECALL[form]


def test_clean_documents_pass(holdout: Holdout) -> None:
    flagged = [text for text in prose(4_000_000) if holdout.find_in(text.encode())]
    assert len(flagged) <= 1


def test_every_item_is_reported(holdout: Holdout, tmp_path_factory: pytest.TempPathFactory) -> None:
    corpus = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    corpus.write_text("\n".join(prose(500_000)))
    reports = holdout.report(holdout.scan_files(plan_shards([corpus])))
    assert [report.id for report in reports] == [item.id for item in holdout.items]
    assert {report.state for report in reports} <= {"clean", "contaminated", "uncheckable"}
    assert all(report.why for report in reports)


@NEEDS_DATA
def test_model_paraphrases_are_queued() -> None:
    folder = data_folder()
    assert folder is not None
    problems = Problems(keep_going=True)
    test = [item.text for item in read_items([folder / "gsm8k-test.jsonl.gz"], problems, fields=["question"])]
    others = [item.text for item in read_items([folder / "gsm8k-train.jsonl.gz"], problems, fields=["question"])]
    rephrased = [
        item.text.split("\nAnswer")[0] for item in read_items([folder / "gsm8k-rephrased-dev.jsonl"], problems)
    ]
    index = ParaphraseIndex(test)
    assert len(list(index.candidates(rephrased))) / len(rephrased) >= 0.75
    assert len(list(index.candidates(others))) / len(others) <= 0.02


@NEEDS_DATA
def test_hard_coded_answers_are_found_and_libraries_pass() -> None:
    by_name = {figure["name"]: figure for figure in source_figures(quick=True)}
    assert len(SOURCE_FORMS) >= 20
    assert by_name["hard-coded answers, recall of the worst form"]["value"] >= 0.9
    assert by_name["library files flagged"]["value"] == 0


def test_splits_are_sound() -> None:
    by_name = {figure["name"]: figure for figure in figures_of_splits(quick=True)}
    assert by_name["cases moved when a tenth is appended"]["ok"]
    assert by_name["random cases split unsoundly"]["ok"]
