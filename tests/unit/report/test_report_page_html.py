import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser

import pytest

from evalkit.contract import Trust
from evalkit.errors import UsageError, WorkspaceError
from evalkit.ledger import Ledger
from evalkit.report.page import page_html, write_page
from evalkit.verify.verdict import Reason
from evalkit.workspace import Change, FileChange

_VOID = {"meta", "link", "input", "br"}
_SCRIPT = "</script></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg/onload=alert(3)>"
_HIDDEN = "a\u202eb\u200bc\x1b[31m\x00\udcff"


class Page(HTMLParser):
    """Elements, texts and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)


@dataclass
class Trees:
    """A store whose every change is one patch."""

    patch: bytes = b""
    error: Exception | None = None

    def diff(self, old, new):
        if self.error:
            raise self.error
        return Change(old, new, (FileChange(f"tr{_HIDDEN}ain.py", "modified"),), (), lambda: self.patch)


def lines(count, text="x = 1"):
    head = "diff --git a/train.py b/train.py\nindex 1..2 100644\n--- a/train.py\n+++ b/train.py\n@@ -1,2 +1,2 @@\n"
    return (head + "".join(f"-{text} # {i}\n+{text} # {i} new\n" for i in range(count // 2))).encode()


@pytest.fixture
def small(script):
    script.begin()
    script.propose(script.level, "does nothing")
    script.propose(script.level * 0.8, "helps")
    script.refuse(Reason.GUARD, "EK101 a clock is replaced", "cheats")
    return script


def test_the_page_is_whole_and_says_what_happened(contract, small, ledger_of):
    ledger = ledger_of(small)
    page = Page(page_html(contract, ledger, Trees(lines(4))))
    assert page.open == []
    assert page.count("details") == 3
    assert "1 of 3 proposed changes survived verification. On fresh pairs it makes bits better by" in page.text
    for said in ("does nothing", "helps", "cheats", "a guard refused it", "EK101 a clock is replaced", "+ is better"):
        assert said in page.text
    assert ledger.head in page.text
    assert f"{0xC0FFEE + 2:040x} on evalkit/task" in page.text
    assert "UNSAFE" not in page.text


def test_nothing_is_fetched_and_nothing_runs_but_our_own_script(contract, small, ledger_of):
    text = page_html(contract, ledger_of(small), Trees(lines(4)))
    page = Page(text)
    policy = next(attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert page.count("script") == page.count("style") == 1
    for tag, attrs in page.elements:
        assert tag not in {"img", "iframe", "object", "embed", "form", "base"}
        assert not any(name.startswith("on") or name in {"style", "src", "xlink:href"} for name in attrs)
        assert attrs.get("href", "#").startswith(("#", "data:,"))
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text


def test_hostile_text_stays_text(script, ledger_of):
    script = script.begin()
    finding = {
        "rule": "EK101", "severity": "block", "message": _SCRIPT, "file": _SCRIPT, "line": 3, "evidence": _SCRIPT,
        "advice": _SCRIPT, "secret": False,
    }  # fmt: skip
    script.refuse(Reason.GUARD, _SCRIPT + _HIDDEN[:-1], _SCRIPT, findings=[finding], details={_SCRIPT: _SCRIPT})
    script.propose(script.level, _SCRIPT + "\u202e", proposer=_SCRIPT, unenforced=[_SCRIPT])
    contract = replace(script.contract, name=_SCRIPT)
    patch = lines(2, _SCRIPT) + b"+" + _HIDDEN.encode("utf-8", "surrogateescape") + b"\n"
    text = page_html(contract, ledger_of(script), Trees(patch))
    page = Page(text)
    assert page.open == []
    assert page.count("script") == page.count("style") == 1
    assert page.count("img") == 0
    assert not any("onload" in attrs or "onerror" in attrs for _, attrs in page.elements)
    assert "a⟦U+202E⟧b⟦U+200B⟧c⟦U+001B⟧[31m⟦U+0000⟧⟦U+DCFF⟧" in page.text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00\x1b\ud800-\udfff]", text)
    text.encode("utf-8")


def test_what_the_vault_helped_to_find_is_not_passed_on(contract, script, ledger_of):
    secret = {
        "rule": "EK501", "severity": "probe", "message": "answer 42 of case 7", "file": "a.py", "line": 3,
        "evidence": "the answer is 42", "advice": "drop 42", "secret": True,
    }  # fmt: skip
    script.begin().refuse(Reason.GUARD, "see findings", findings=[secret])
    text = page_html(contract, ledger_of(script), None)
    assert "EK501" in text
    assert "the answer is 42" not in text
    assert "case 7" not in text
    assert "drop 42" not in text


def test_an_unsafe_run_says_so_first(contract, script, ledger_of):
    script.begin(unsafe=True).propose(script.level, unsafe="UNSAFE: no sandbox")
    page = Page(page_html(contract, ledger_of(script), None))
    text = page.text
    assert "UNSAFE: 1 of 1 experiments ran in the sandbox 'process'" in text
    assert text.index("UNSAFE:") < text.index("proposed change")


def test_values_that_can_be_forged_and_what_was_not_enforced_are_named(scripts, ledger_of):
    script = scripts(trust=Trust.REPORTED)
    script.begin().propose(script.level, unenforced=["memory of the whole tree"])
    text = Page(page_html(script.contract, ledger_of(script), None)).text
    assert "bits is printed by candidate code itself, which can forge it" in text
    assert "Not enforced on this machine: memory of the whole tree." in text


def test_ratios_are_shown_in_percent(scripts, ledger_of):
    script = scripts(kind="ratio")
    script.begin().propose(script.level * 0.8)
    text = Page(page_html(script.contract, ledger_of(script), None)).text
    assert re.search(r"bits better by 2\d\.\d % \[\+1\d\.\d %, \+2\d\.\d %\]", text)
    assert "100 times the difference of logarithms" in text


def test_a_comparison_of_head_and_anchor_stands_on_top(contract, small, ledger_of):
    effect = {"effect": 0.8, "low": 0.7, "high": 0.9, "confidence": 0.95, "pairs": 12}
    level = {"mean": 4.0, "low": 3.9, "high": 4.1}
    body = {"anchor": "a" * 40, "head": "b" * 40, "pairs": 12, "effects": {"bits": effect, "cpu": None}}
    small.write("compared", {**body, "values": {"bits": {"anchor": level, "head": {**level, "mean": 3.2}}}})
    text = Page(page_html(contract, ledger_of(small), None)).text
    assert "Head against anchor 12 fresh pairs, which no verdict rests on" in text
    assert "bits 4 [3.9, 4.1] 3.2 [3.9, 4.1] +0.800 [+0.700, +0.900] better" in text
    assert text.index("Head against anchor") < text.index("Progress")
    assert "younger" not in text


def test_a_comparison_that_is_older_than_a_keep_says_so(contract, small, ledger_of):
    body = {"anchor": "a" * 40, "head": "b" * 40, "pairs": 3, "effects": {}, "values": {}}
    effect = {"effect": 0.0, "low": -0.1, "high": 0.1, "confidence": 0.95, "pairs": 3}
    small.write("compared", {**body, "effects": {"bits": effect}})
    assert small.propose(small.level * 0.8) == "KEEP"
    text = Page(page_html(contract, ledger_of(small), None)).text
    assert "1 keep is younger than this comparison" in text
    assert "not told apart" in text


def test_a_run_before_its_first_verdict_has_a_page(contract, script, ledger_of, tmp_path):
    script.begin()
    assert "Nothing has been decided yet." in Page(page_html(contract, ledger_of(script), None)).text
    with Ledger.open(tmp_path / "empty") as empty:
        page = Page(page_html(contract, empty, None))
    assert page.open == []
    assert "Nothing has been decided yet." in page.text


def test_a_contract_that_changed_is_noted_and_another_proposer_is_not(contract, small, ledger_of):
    ledger = ledger_of(small)
    note = "contract on disk is no longer the one of this run"
    assert note not in page_html(contract, ledger, None)
    assert note not in page_html(replace(contract, proposer=replace(contract.proposer, kind="patches")), ledger, None)
    assert note in page_html(replace(contract, editable=("*",)), ledger, None)


@pytest.mark.parametrize("error", [WorkspaceError("no such tree"), OSError("disk")])
def test_a_diff_that_cannot_be_read_leaves_the_page_whole(contract, small, ledger_of, error):
    text = Page(page_html(contract, ledger_of(small), Trees(error=error))).text
    assert str(error) in text
    assert "1 of 3" in text


def test_a_hundred_experiments_fit_in_a_megabyte(contract, script, ledger_of):
    script.begin()
    for index in range(100):
        script.propose(script.level * (0.97 if index % 3 else 0.99), "x" * 300)
    html = page_html(contract, ledger_of(script), Trees(lines(4000, "<" * 150)))
    assert len(html.encode()) < 1_000_000
    assert Page(html).count("details") == 100
    assert "further lines are left out" in html


@pytest.mark.slow
def test_two_thousand_experiments_are_written_and_only_some_unfold(contract, script, ledger_of):
    script.begin(pairs=3)
    for index in range(60):
        script.propose(script.level * (0.9 if index == 30 else 1.0))
    pattern = [(kind, body) for kind, body in script.records if "experiment" in body]
    head = [(kind, body) for kind, body in script.records if "experiment" not in body]
    script.records = head + [
        (kind, {**body, "experiment": body["experiment"] + 60 * turn}) for turn in range(34) for kind, body in pattern
    ]
    page = Page(page_html(contract, ledger_of(script), Trees(lines(100))))
    assert page.open == []
    assert page.count("details") == 300
    assert sum(attrs.get("class", "").startswith("row") for _, attrs in page.elements if attrs.get("class")) >= 2040
    assert "can't be unfolded" in page.text


def test_the_file_is_replaced_as_a_whole(contract, small, ledger_of, tmp_path):
    target = tmp_path / "new folder" / "run.html"
    ledger = ledger_of(small)
    write_page(contract, ledger, None, target)
    first = target.read_text(encoding="utf-8")
    target.write_text("old")
    write_page(contract, ledger, None, target)
    assert target.read_text(encoding="utf-8") == first
    assert [path.name for path in target.parent.iterdir()] == ["run.html"]


def test_a_target_that_cannot_be_written_is_a_users_mistake(contract, small, ledger_of, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="can't be written"):
        write_page(contract, ledger_of(small), None, tmp_path / "file" / "run.html")
