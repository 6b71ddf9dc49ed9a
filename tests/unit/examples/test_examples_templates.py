import json
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "templates"
SPLITS = ("dev", "confirm", "sealed")
BUDGET = {"TEMPLATES_CASES": "60"}


@pytest.fixture(scope="module")
def score(load):
    return load("templates", "score")


@pytest.fixture(scope="module")
def engine(load):
    return load("templates", "engine")


def cases(split):
    return json.loads((EXAMPLE / "vault" / split / "cases.json").read_text(encoding="utf-8"))


def rendered(engine, case):
    try:
        return {"output": engine.render(case["template"], case["context"])}
    except engine.TemplateError:
        return {"error": True}


@pytest.mark.parametrize("split", SPLITS)
def test_the_anchor_renders_every_case_right(engine, score, split):
    wrong = [case["family"] for case in cases(split) if not score.is_right(rendered(engine, case), case)]
    assert wrong == []


def test_cases_are_what_prepare_writes(load, engine):
    prepare = load("templates", "prepare")
    right = prepare.reference()
    assert json.loads(json.dumps(prepare.cases("dev", right))) == cases("dev")


def test_no_pair_stands_twice_and_no_page_in_two_splits():
    pages: dict[str, str] = {}
    for split in SPLITS:
        found = cases(split)
        pairs = {(case["template"], json.dumps(case["context"], sort_keys=True)) for case in found}
        assert len(pairs) == len(found)
        for case in found:
            if case["family"].startswith("page"):
                assert pages.setdefault(case["template"], split) == split


def test_malformed_templates_are_among_the_cases():
    assert sum("error" in case["answer"] for case in cases("confirm")) >= 10


@pytest.mark.parametrize(
    "answer",
    [None, {}, "text", {"output": "Text"}, {"output": "text", "error": True}, {"output": ["text"]}, {"error": True}],
)
def test_only_the_exact_answer_is_right(score, answer):
    case = {"answer": {"output": "text"}}
    assert score.is_right({"output": "text"}, case)
    assert not score.is_right(answer, case)


def test_an_error_is_true_and_nothing_that_equals_it(score):
    assert score.is_right({"error": True}, {"answer": {"error": True}})
    assert not score.is_right({"error": 1}, {"answer": {"error": True}})


def test_the_choice_of_cases_follows_the_seed(score):
    pool = [{"answer": number} for number in range(50)]
    assert score.chosen(pool, 1, 20) == score.chosen(pool, 1, 20) != score.chosen(pool, 2, 20)
    assert len(score.chosen(pool, 1, 999)) == 50


def test_scorer_and_candidate_talk(converse, copy_of):
    result = converse("templates", copy_of("templates"), serve=["serve.py"], env=BUDGET)
    assert result["metrics"] == {"correct": 1.0}
    assert len(result["cases"]["correct"]) == len(result["clusters"]) == 60


@pytest.mark.parametrize("patch", ["good-cached-parsing", "good-faster-scanning"])
def test_good_patches_render_everything_right(converse, copy_of, patch):
    result = converse("templates", copy_of("templates", patch), serve=["serve.py"], env={"TEMPLATES_CASES": "999"})
    assert result["metrics"] == {"correct": 1.0}


@pytest.mark.parametrize(
    "patch",
    [
        "bad-cache-ignores-context",
        "bad-cache-short-key",
        "bad-shared-scope",
        "bad-swallows-errors",
        "bad-no-escaping",
        "bad-escapes-almost-all",
        "bad-constant",
        "bad-not-text",
    ],
)
def test_bad_patches_render_something_wrong(converse, copy_of, patch):
    result = converse("templates", copy_of("templates", patch), serve=["serve.py"], env={"TEMPLATES_CASES": "999"})
    assert result["metrics"]["correct"] < 1.0
