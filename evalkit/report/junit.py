"""JUnit XML of a gate: one test case a contract or gate, in the shape that CI services read."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from evalkit.report.gating import Judged, Report

__all__ = ["junit_text"]

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_text(report: Report) -> str:
    """One test suite; REJECT and INCONCLUSIVE are failures, ERROR an error, nothing to judge a skip.

    A gate that does not allow nothing to judge has a failure for it.
    """
    suite = ET.Element("testsuite", name="evalkit", time=f"{report.seconds:.3f}")
    for entry in report.judged:
        _case(suite, entry)
    if report.decision == "NOTHING":
        case = ET.SubElement(suite, "testcase", classname="evalkit", name="gate", time="0")
        tag = "skipped" if report.passed else "failure"
        ET.SubElement(case, tag, message=report.headline)
    counts = {tag: len(suite.findall(f"testcase/{tag}")) for tag in ("failure", "error", "skipped")}
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(counts["failure"]))
    suite.set("errors", str(counts["error"]))
    suite.set("skipped", str(counts["skipped"]))
    root = ET.Element("testsuites", name="evalkit gate")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, entry: Judged) -> None:
    case = ET.SubElement(
        suite, "testcase", classname="evalkit", name=_plain(entry.name), file=_plain(entry.file), time="0"
    )
    tag = {"KEEP": "", "ERROR": "error", "NOTHING": "skipped"}.get(entry.decision, "failure")
    lines = [entry.sentence, entry.effect, *entry.details, *(f"{f['rule']}: {f['message']}" for f in entry.findings)]
    text = _plain("\n".join(line for line in lines if line))
    if tag:
        message = _plain(f"{entry.decision}: {entry.sentence}")
        ET.SubElement(case, tag, message=message, type=entry.decision).text = text
    else:
        ET.SubElement(case, "system-out").text = text


def _plain(text: str) -> str:
    """Without what XML can't hold."""
    return _NOT_XML.sub("\ufffd", text)
