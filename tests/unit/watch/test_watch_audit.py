"""Verdicts of the audit on histories whose truth is known."""

import json
import math

import numpy as np
import pytest

from evalkit.interop import History, HistoryRow, Segment, Status
from evalkit.report.audit_data import as_json, as_markdown
from evalkit.report.audit_page import as_html
from evalkit.report.audit_words import clean, number, signed
from evalkit.watch.audit import Remeasured, Verdict, audit
from evalkit.watch.audit_noise import Sureness


def history(rows, *, goal="maximize", metric="score", form="results.tsv", **segment):
    return History("x.tsv", form, (Segment(metric, goal, "stated", **segment),), tuple(rows))


def row(line, status, metric, description="change", commit=None, **more):
    name = f"c{line}" if commit is None else commit
    return HistoryRow(line, Status(status), metric, commit=name, label=name, description=description, **more)


def simulated(seed, *, rows=200, sd=0.1, goal="maximize", improvements=(40, 120)):
    """Keep-if-better over null changes with two planted improvements of 10 sd."""
    rng = np.random.default_rng(seed)
    sign = 1 if goal == "maximize" else -1
    level = best = 0.0
    out = [row(2, "keep", 0.0, "baseline", baseline=True)]
    for index in range(1, rows):
        effect = 10 * sd if index in improvements else 0.0
        value = level + effect + sd * rng.standard_normal()
        kept = value > best
        if kept:
            best, level = value, level + effect
        out.append(row(index + 2, "keep" if kept else "discard", sign * value, f"change {index}"))
    return history(out, goal=goal)


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_planted_improvements_survive_and_lucky_keeps_do_not(goal):
    for seed in range(5):
        segment = audit(simulated(seed, goal=goal)).segments[0]
        surviving = {verdict.row.line for verdict in segment.rows if verdict.verdict is Verdict.SURVIVES}
        assert surviving == {42, 122}
        lucky = segment.tested - 2
        assert segment.expected_false_keeps == pytest.approx(lucky, abs=1.5)
        assert abs(segment.true_gain - 2.0) < 3 * segment.true_gain_sd + 0.05
        assert segment.claimed_gain > segment.true_gain


def test_noise_is_found_and_its_sureness_said():
    segment = audit(simulated(1)).segments[0]
    assert segment.noise.sd == pytest.approx(0.1, rel=0.3)
    assert segment.noise.sureness is Sureness.LOW
    assert "no row repeats another one" in segment.noise.source


def test_replicates_are_noise_too():
    rows = list(simulated(2).rows)
    values = np.random.default_rng(1).normal(0.5, 0.1, size=8)
    rows += [row(300 + i, "discard", float(v), f"probe {i}", commit="same") for i, v in enumerate(values)]
    segment = audit(history(rows)).segments[0]
    assert segment.noise.sureness is Sureness.HIGH
    assert segment.noise.replicate_df == 7
    assert "replicate rows" in segment.noise.source


def test_stated_noise_overrides():
    segment = audit(simulated(1), sd=50.0).segments[0]
    assert segment.noise.sureness is Sureness.STATED
    assert not segment.count(Verdict.SURVIVES)
    stated = audit(history(simulated(1).rows, noise_sd=0.1)).segments[0]
    assert stated.noise.sd == 0.1


def test_only_keeps_tell_nothing_about_noise():
    segment = audit(history([row(i + 2, "keep", float(i)) for i in range(12)])).segments[0]
    assert segment.noise.sd is None
    assert segment.count(Verdict.UNKNOWABLE) == 11
    assert segment.true_gain is None
    assert segment.claimed_gain == 11.0


def test_a_crash_is_never_a_best():
    rows = [*simulated(3, goal="minimize").rows, row(900, "crash", None, "OOM", recorded=0.0)]
    segment = audit(history(rows, goal="minimize")).segments[0]
    assert segment.rows[-1].verdict is Verdict.CRASH
    assert segment.claimed_gain == audit(history(rows[:-1], goal="minimize")).segments[0].claimed_gain
    assert [finding.rule for finding in segment.findings if "crash" in finding.rule] == ["crash-as-value"]


def test_an_implausible_zero_is_no_value():
    rows = [row(2 + i, "keep" if i in {0, 5} else "discard", 0.9979 + 0.0001 * i) for i in range(30)]
    rows.append(row(99, "keep", 0.0, "magic"))
    segment = audit(history(rows, goal="minimize", metric="val_bpb")).segments[0]
    assert segment.rows[-1].verdict is Verdict.IMPLAUSIBLE
    assert segment.findings[0].rule == "implausible-zero"
    assert segment.findings[0].grave
    assert abs(segment.claimed_gain) < 0.1


def test_zero_failures_are_plausible():
    rows = [row(2 + i, "keep", float(max(8 - i, 0))) for i in range(9)]
    segment = audit(history(rows, goal="minimize", metric="failures")).segments[0]
    assert not segment.count(Verdict.IMPLAUSIBLE)
    assert segment.claimed_gain == 8.0


def test_a_seed_hunt_is_named_and_gains_nothing():
    rows = list(simulated(4, improvements=()).rows)
    best = max(r.metric for r in rows if r.status is Status.KEEP)
    rows += [row(500, "keep", best + 0.05, "random seed 42 to 137"), row(501, "discard", best - 0.2, "seed 1337")]
    segment = audit(history(rows)).segments[0]
    assert segment.rows[-2].verdict is Verdict.SAME
    assert segment.rows[-1].verdict is Verdict.REPEAT
    assert [finding.rule for finding in segment.findings if finding.grave] == ["seed-hunt"]


def test_ties_worse_keeps_copies_and_unknown_statuses():
    base = list(simulated(5, improvements=()).rows)
    best = max(r.metric for r in base if r.status is Status.KEEP)
    base += [
        row(500, "keep", best, "simpler"),
        row(501, "keep", best - 0.01, "worse"),
        row(502, "keep", best - 0.01, "copied", commit="c501"),
        row(503, "unknown", best + 1, "maybe", status_text="tentative"),
        row(504, "keep", None, "no number"),
    ]
    segment = audit(history(base)).segments[0]
    tail = [verdict.verdict for verdict in segment.rows[-5:]]
    assert tail == [Verdict.TIE, Verdict.WORSE, Verdict.REPEAT, Verdict.UNDECIDED, Verdict.UNMEASURED]
    rules = {finding.rule for finding in segment.findings}
    assert rules >= {"tie-kept", "worse-kept", "copied-row", "unknown-status", "keep-without-metric"}


def test_a_restored_head_is_no_replicate():
    rows = [row(2, "keep", 1.0, commit="head")] + [row(3 + i, "discard", 0.9, commit="head") for i in range(30)]
    segment = audit(history(rows, form="pi-autoresearch log")).segments[0]
    assert not segment.count(Verdict.REPEAT)


def test_without_decisions_a_new_best_is_the_claim():
    rows = [row(i + 2, "unknown", value) for i, value in enumerate([1.0, 1.1, 0.9, 1.3, 1.2])]
    segment = audit(history(rows, form="OpenEvolve trace"), sd=0.01).segments[0]
    assert [verdict.kept for verdict in segment.rows] == [True, True, False, True, False]
    assert segment.count(Verdict.SURVIVES) == 2


def test_an_unknown_goal_is_said():
    rows = simulated(1).rows
    segment = audit(History("x", "t", (Segment("thing", None, "unknown"),), rows)).segments[0]
    assert segment.noise.sd is None
    assert "which way is better" in segment.noise.source


def test_a_second_baseline_starts_a_new_chain():
    rows = [*simulated(1).rows]
    rows += [row(600, "keep", -5.0, "re-baseline on another machine", baseline=True)]
    rows += [row(601 + i, "discard", -5.1) for i in range(20)]
    segment = audit(history(rows)).segments[0]
    assert segment.chains == 2
    assert segment.count(Verdict.START) == 2
    assert segment.claimed_gain > 0


def test_detail_rows_are_counted_once():
    rows = [row(2, "keep", 1.0), row(3, "keep", 2.0, detail=True), row(4, "keep", 2.0)]
    segment = audit(history(rows), sd=0.1).segments[0]
    assert [verdict.verdict for verdict in segment.rows] == [Verdict.START, Verdict.REPEAT, Verdict.SURVIVES]


def test_remeasuring_replaces_the_model():
    asked = []

    def remeasure(keep, before):
        asked.append((keep.line, before.line))
        return None if len(asked) == 1 else Remeasured(0.5, 0.1, 4)

    segment = audit(history([row(2, "keep", 1.0), row(3, "keep", 1.1), row(4, "keep", 1.2)]), remeasure=remeasure)
    assert asked == [(3, 2), (4, 3)]
    last = segment.segments[0].rows[-1]
    assert last.verdict is Verdict.SURVIVES
    assert "4 pairs" in last.reason


def test_jumps_and_impossible_values():
    rows = [row(2 + i, "keep", 0.5 + 0.01 * i) for i in range(8)] + [row(20, "keep", 0.9), row(21, "keep", 1.7)]
    segment = audit(history(rows, metric="accuracy")).segments[0]
    assert {finding.rule for finding in segment.findings} >= {"jump", "impossible-value"}


def test_empty_and_tiny_histories():
    assert audit(history([])).segments == ()
    for rows in ([row(2, "keep", 1.0)], [row(2, "crash", None)], [row(2, "discard", 1.0)], [row(2, "unknown", None)]):
        segment = audit(history(rows)).segments[0]
        assert segment.tested == 0
        assert len(segment.rows) == 1
        assert as_html(audit(history(rows)))


def test_enormous_and_equal_values():
    values = [0.0, 1e300, -1e300, 1e-300, 5.0, 5.0]
    rows = [row(2 + i, "keep" if i % 2 else "discard", value) for i, value in enumerate(values * 4)]
    segment = audit(history(rows)).segments[0]
    assert all(verdict.probability is None or 0 <= verdict.probability <= 1 for verdict in segment.rows)
    flat = audit(history([row(2 + i, "keep", 1.0, f"d{i}") for i in range(20)])).segments[0]
    assert flat.claimed_gain == 0.0


def test_json_is_strict_and_complete():
    document = as_json(audit(simulated(1)))
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text)["schema"] == "evalkit/audit/1"
    rows = document["segments"][0]["rows"]
    assert len(rows) == 200
    assert {"line", "verdict", "claimed", "probability", "effect"} <= set(rows[0])


HOSTILE = "<script>alert(1)</script> | `x` [l](javascript:1) \u202etxt\x1b[31m\n# h"


def test_descriptions_stay_text():
    rows = [*simulated(1).rows, row(900, "keep", 9.0, HOSTILE, commit="<b>&")]
    done = audit(history(rows, metric="<i>m"))
    page, markdown = as_html(done), as_markdown(done)
    for bad in ("<script>alert", "<i>m", "<b>&", "\u202e", "\x1b"):
        assert bad not in page
        assert bad not in markdown
    assert "\\[l\\]" in markdown
    assert "\n# h" not in markdown


def test_page_needs_nothing_else():
    page = as_html(audit(simulated(1)))
    for reference in ("http://", "https://", "<script", "@import", "url("):
        assert reference not in page
    assert "default-src 'none'" in page
    assert page.count("<svg") == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (1234567.0, "1.23e+06"), (0.00012346, "0.0001235"), (math.nan, "–"), (100.0, "100")],
)
def test_numbers(value, text):
    assert number(value) == text


def test_signs():
    assert signed(0.5) == "+0.5"
    assert signed(-0.5) == "−0.5"
    assert clean("a\tb\u2066c\x00d" + "x" * 400, 10) == "a bcdxxxx…"
