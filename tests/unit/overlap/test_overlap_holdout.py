"""Items in, states out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.overlap import RULES, Holdout, Item, ItemReport, plan_shards
from evalkit.overlap.rules import gpt3_rule

QUESTIONS = {
    "eggs": "Janet's ducks lay sixteen eggs per day. She eats three of them and bakes muffins with four of them.",
    "robe": "A robe takes two bolts of blue fibre and half that much white fibre. How many bolts does it take?",
    "reef": "Which coral reef, named after a Danish navigator, was charted in 1788 by the second expedition there?",
}


def _items(**questions: str) -> list[Item]:
    return [Item(name, (("question", text),)) for name, text in questions.items()]


def _write(folder: Path, *documents: str) -> Path:
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": document}) + "\n" for document in documents))
    return path


def _states(items: list[Item], *documents: str, folder: Path, rule: str = "default") -> dict[str, ItemReport]:
    holdout = Holdout(items, RULES[rule])
    return {
        report.id: report for report in holdout.report(holdout.scan_files(plan_shards([_write(folder, *documents)])))
    }


def test_every_item_comes_out_once(tmp_path: Path) -> None:
    items = [*_items(**QUESTIONS, tiny="Why?", number="42 is it"), Item("none", (("q", "…!?"),))]
    reports = _states(items, "nothing of the kind", f"intro {QUESTIONS['eggs']} outro", folder=tmp_path)
    assert {name: report.state for name, report in reports.items()} == {
        "eggs": "contaminated",
        "robe": "clean",
        "reef": "clean",
        "tiny": "uncheckable",
        "number": "uncheckable",
        "none": "uncheckable",
    }
    eggs = reports["eggs"]
    assert eggs.found[0].match.line == 2
    assert "sixteen eggs per day" in eggs.found[0].match.excerpt
    assert eggs.passage.startswith("Janet's ducks")
    assert eggs.part == "question"
    assert "letters" in reports["tiny"].why


@pytest.mark.parametrize(
    "disguise",
    [
        str.upper,
        lambda text: text.replace(" ", "\n\n"),
        lambda text: " ".join(f"**{word}**" for word in text.split()),
        lambda text: "".join(char + "\u200b" for char in text),
        lambda text: text.replace("a", "а").replace("e", "е").replace("o", "о"),  # Cyrillic look-alikes
        lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),  # full width
        lambda text: "".join(f"<b>{word}</b> " for word in text.split()),
        lambda text: text.replace("'", "&#39;").replace(" ", "&nbsp;"),
        lambda text: text[: len(text) // 2],
        lambda text: "> " + "\n> ".join(text[i : i + 37] for i in range(0, len(text), 37)),
    ],
    ids=["upper", "newlines", "markdown", "zero", "cyrillic", "wide", "html", "entities", "half", "quoted"],
)
def test_disguises_are_seen_through(tmp_path: Path, disguise: object) -> None:
    for name, question in QUESTIONS.items():
        text = disguise(question)  # type: ignore[operator]
        assert _states(_items(**QUESTIONS), f"Before. {text} After.", folder=tmp_path)[name].state == "contaminated"


def test_scripts_without_spaces_are_found_in_the_middle_of_a_sentence(tmp_path: Path) -> None:
    question = "次の文章を読んで、著者が最も重要だと考えている点を一つ選び、その理由を説明しなさい。"
    reports = _states(_items(q=question), f"そして前置きが続きます{question}そして本文も続きます", folder=tmp_path)
    assert reports["q"].state == "contaminated"


def test_short_items_are_looked_up_as_phrases(tmp_path: Path) -> None:
    items = _items(red="Which planet is red?", why="Why is the sky blue?")
    reports = _states(items, "He asked: which planet is RED. Nobody knew why the sky is blue.", folder=tmp_path)
    assert (reports["red"].state, reports["why"].state) == ("contaminated", "clean")


def test_a_phrase_inside_longer_words_is_not_the_phrase(tmp_path: Path) -> None:
    reports = _states(_items(red="Which planet is red?"), "which planet is reduced", folder=tmp_path)
    assert reports["red"].state == "clean"


def test_a_short_phrase_that_stands_everywhere_is_uncheckable(tmp_path: Path) -> None:
    corpus = [f"Document {number}: what is the answer? Nobody knows." for number in range(40)]
    report = _states(_items(q="What is the answer?"), *corpus, folder=tmp_path)["q"]
    assert report.state == "uncheckable"
    assert "common" in report.why


def test_text_that_all_items_share_starts_no_match(tmp_path: Path) -> None:
    preamble = "Read the following question with great care and answer with one of the letters given below. "
    subjects = ["glaciers", "harbours", "painters", "rivers"]
    items = [
        Item(
            f"{n}",
            (("question", f"{preamble}Number {n * 7919}: how many {subjects[n % 4]} melt before day {n * 31}?"),),
        )
        for n in range(200)
    ]
    reports = _states(items, f"{preamble} And then something else entirely.", folder=tmp_path)
    assert {report.state for report in reports.values()} == {"clean"}
    leaked = _states(items, items[17].text, folder=tmp_path)
    assert [name for name, report in leaked.items() if report.state == "contaminated"] == ["17"]


def test_windows_scattered_over_a_long_document_are_no_match(tmp_path: Path) -> None:
    words = QUESTIONS["robe"].split()
    filler = " ".join(f"filler{number}" for number in range(1500))
    pieces = [" ".join(words[at : at + 7]) for at in range(0, len(words) - 7, 7)]
    reports = _states(_items(**QUESTIONS), f" {filler} ".join(pieces), folder=tmp_path)
    assert reports["robe"].state == "clean"


def test_a_window_over_the_end_of_a_line_is_no_match(tmp_path: Path) -> None:
    first, second = QUESTIONS["robe"].split(" of ", 1)
    path = tmp_path / "corpus.jsonl"
    path.write_text(f'"{first} of"\n"{second[:24]}"\n')
    holdout = Holdout(_items(robe=QUESTIONS["robe"][:48]))
    assert holdout.report(holdout.scan_files(plan_shards([path])))[0].state == "clean"


@pytest.mark.parametrize("rule", ["gpt3", "palm", "llama"])
def test_published_rules(tmp_path: Path, rule: str) -> None:
    reports = _states(_items(**QUESTIONS), f"x {QUESTIONS['eggs']} y", folder=tmp_path, rule=rule)
    assert {name: r.state for name, r in reports.items()} == {"eggs": "contaminated", "robe": "clean", "reef": "clean"}


def test_rules_over_the_corpus_add_up_what_documents_hold(tmp_path: Path) -> None:
    words = QUESTIONS["reef"].split()
    halves = " ".join(words[:13]), " ".join(words[4:])
    assert _states(_items(**QUESTIONS), *halves, folder=tmp_path, rule="palm")["reef"].state == "contaminated"
    assert _states(_items(**QUESTIONS), halves[0], folder=tmp_path, rule="palm")["reef"].state == "clean"


def test_the_gpt3_window_follows_the_benchmark() -> None:
    assert gpt3_rule([5] * 20).window.size == 8
    assert gpt3_rule([10] * 20).window.size == 10
    assert gpt3_rule([500] * 20).window.size == 13


def test_short_items_are_uncheckable_by_word_rules(tmp_path: Path) -> None:
    report = _states(
        _items(q="Extraordinarily incomprehensible counterrevolutionaries"), "x", folder=tmp_path, rule="gpt3"
    )
    assert report["q"].state == "uncheckable"


COLLOCATION = "Which expression is equivalent to (5 + 2) x 8?"


def test_one_collocation_of_a_short_item_is_no_match(tmp_path: Path) -> None:
    items = _items(math=COLLOCATION, **QUESTIONS)
    text = (
        "The resulting operator expression is equivalent to the argument, but will be a sum of 5 products instead of 8."
    )
    assert _states(items, text, folder=tmp_path)["math"].state == "clean"
    assert _states(items, COLLOCATION.lower(), folder=tmp_path)["math"].state == "contaminated"


def test_a_short_item_with_a_changed_word_is_a_match(tmp_path: Path) -> None:
    item = "What would be the capital gained by someone selling a rare violin in Reykjavik?"
    reports = _states(_items(q=item), item.replace("rare", "costly").replace("someone", "a person"), folder=tmp_path)
    assert reports["q"].state == "contaminated"


def test_a_passage_that_one_item_explains_is_not_its_siblings(tmp_path: Path) -> None:
    ending = "and leaves half of the torches behind; how many glaciers remain at dawn?"
    items = _items(
        a=f"Odette paints 74 violins on day 75 {ending}", b=f"Bertrand sells a dozen ferries to the mayor {ending}"
    )
    reports = _states(items, f"Intro. {items[0].text} Outro.", folder=tmp_path)
    assert {name: report.state for name, report in reports.items()} == {"a": "contaminated", "b": "clean"}
