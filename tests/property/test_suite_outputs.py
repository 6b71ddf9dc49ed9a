"""Whatever a gate found, its outputs are well formed, within their limits, and agree with the exit code."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.report.gating import Judged, Report
from evalkit.report.jobsummary import MAX_ANNOTATIONS, MAX_SUMMARY, markdown, workflow_commands
from evalkit.report.junit import junit_text
from evalkit.report.sarif import sarif_document

TEXT = st.text(max_size=40)
FINDING = st.fixed_dictionaries(
    {
        "rule": st.sampled_from(["EK101", "EK204"]),
        "severity": st.sampled_from(["block", "probe", "note"]),
        "message": TEXT,
        "file": st.sampled_from(["", "a b.py", "ä/%.py", "x,y:z.py"]),
        "line": st.integers(0, 9),
        "evidence": TEXT,
    }
)
JUDGED = st.builds(
    Judged,
    name=TEXT,
    file=st.sampled_from(["evalkit.toml", "sub/evalkit.toml"]),
    decision=st.sampled_from(["KEEP", "REJECT", "INCONCLUSIVE", "ERROR", "NOTHING"]),
    sentence=TEXT,
    details=st.lists(TEXT, max_size=2).map(tuple),
    findings=st.lists(FINDING, max_size=3).map(tuple),
    folder=st.sampled_from(["", "sub"]),
    more=st.none() | st.integers(1, 99),
)
REPORT = st.builds(
    Report,
    base=st.just("a" * 40),
    head=st.just("b" * 40),
    judged=st.lists(JUDGED, max_size=5).map(tuple),
    unjudged=st.lists(TEXT, max_size=3).map(tuple),
    empty_passes=st.booleans(),
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(REPORT)
def test_all_outputs_agree(report):
    suite = ET.fromstring(junit_text(report))[0]  # noqa: S314 - our own
    bad = int(suite.get("failures")) + int(suite.get("errors"))
    assert (bad > 0) == (report.exit_code != 0)
    run = json.loads(json.dumps(sarif_document(report)))["runs"][0]
    gates = [result for result in run["results"] if result["ruleId"].startswith("gate-")]
    assert bool(gates) == (report.exit_code != 0)
    text = markdown(report)
    assert report.headline in text.splitlines()[0]
    assert len(text.encode()) <= MAX_SUMMARY
    said = workflow_commands(report)
    assert len(said) <= MAX_ANNOTATIONS
    assert all(re.fullmatch(r"::(error|warning|notice) [^\n\r]*::[^\n\r]*", line) for line in said)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(REPORT)
def test_sarif_has_what_the_standard_requires(report):
    """SARIF 2.1.0: §3.13 sarifLog, §3.14 run, §3.19 toolComponent, §3.27 result, §3.29 physicalLocation."""
    log = sarif_document(report)
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    run = log["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for invocation in run["invocations"]:
        assert isinstance(invocation["executionSuccessful"], bool)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"none", "note", "warning", "error"}
        assert isinstance(result["message"]["text"], str)
        for place in result.get("locations", ()):
            location = place["physicalLocation"]
            assert re.fullmatch(r"[A-Za-z0-9._~!$&'()*+;=@/%-]+", location["artifactLocation"]["uri"])
            assert location.get("region", {"startLine": 1})["startLine"] >= 1


def test_a_summary_is_cut_where_the_host_would_refuse_it():
    entry = Judged("n", "f", "REJECT", "why", details=tuple("€" * 590 for _ in range(2000)))
    text = markdown(Report("a", "b", (entry,)))
    assert len(text.encode()) <= MAX_SUMMARY
    assert text.endswith("JSON output.\n")


def test_text_from_outside_is_no_markup():
    text = markdown(Report("a", "b", (Judged("<img src=x>|@all", "f", "REJECT", "[x](http://y) `c`"),)))
    assert "<img" not in text
    assert "[x](" not in text
