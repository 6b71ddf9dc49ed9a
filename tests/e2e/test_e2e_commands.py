"""The commands as a user runs them, with the real sandbox: verdicts, exit codes, JSON, nothing touched."""

import json
import os
import re
import signal
import stat
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("bubblewrap")]

HOOKS = ("pre-commit", "post-commit", "post-checkout", "reference-transaction", "prepare-commit-msg", "post-rewrite",
         "pre-auto-gc", "post-index-change", "commit-msg", "post-merge", "update", "post-update")  # fmt: skip


def plant_hooks(tiny):
    """Hooks that would leave a trace; the folder where they would."""
    traces = tiny.top.parent / "traces"
    traces.mkdir()
    for name in HOOKS:
        hook = tiny.top / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {traces}/{name}\n")
        hook.chmod(0o755)
    tiny.git("config", "core.fsmonitor", f"touch {traces}/fsmonitor; false")
    tiny.git("config", "commit.gpgsign", "true")
    tiny.git("config", "gpg.program", f"{traces}/no-such-program")
    for trace in traces.iterdir():
        trace.unlink()
    return traces


def test_keep_reject_and_again(tiny, evalkit):
    traces = plant_hooks(tiny)
    tiny.write("notes.txt", "uncommitted, and nobody's business\n")
    (tiny.folder / "solve.py").write_text((tiny.folder / "solve.py").read_text() + "# being edited\n")
    before = tiny.untouched()

    kept = evalkit("submit", tiny.candidate(LEVEL=0.96), "--json", "-m", "a lower level", code=0).json
    assert kept["schema"] == "evalkit/verdict/1"
    assert (kept["decision"], kept["reason"], kept["trust"], kept["unsafe"]) == ("KEEP", "improved", "scored", "")
    assert kept["effect"]["low"] > 0
    assert "network" in " ".join(kept["enforced"])

    worse = evalkit("submit", tiny.candidate(LEVEL=1.5), code=1)
    assert worse.out.startswith("REJECT: ")
    again = evalkit("submit", tiny.candidate(LEVEL=1.5), "--json", code=1).json
    assert again["reason"] == "duplicate"
    same = evalkit("submit", tiny.candidate(LEVEL=0.96), "--json", code=1).json
    assert same["reason"] == "no_change"

    assert tiny.untouched() == before
    assert not list(traces.iterdir())
    head = tiny.git("rev-parse", "evalkit/tiny")
    assert tiny.git("log", "--format=%s", "main..evalkit/tiny") == "tiny: a lower level"
    trailers = tiny.git("log", "-1", "--format=%(trailers)", head)
    assert set(re.findall(r"^Evalkit-(\w+):", trailers, re.MULTILINE)) == {"Verdict", "Ledger", "Metric"}
    assert tiny.git("show", f"{head}:solve.py") == tiny.candidate(LEVEL=0.96).joinpath("solve.py").read_text().rstrip(
        "\n"
    )
    assert tiny.git("diff", "--name-only", "main", head) == "solve.py"

    the_ledger_is_told(tiny, evalkit, trailers)


def the_ledger_is_told(tiny, evalkit, trailers):
    log = evalkit("log", "--json", code=0).json
    assert log["schema"] == "evalkit/log/1"
    assert [entry["decision"] for entry in log["experiments"]] == ["KEEP", "REJECT", "REJECT", "REJECT"]
    assert len(evalkit("log", "--kept", "--json").json["experiments"]) == 1
    assert len(evalkit("log").out.splitlines()) == 4

    shown = evalkit("show", 1, "--json", code=0).json
    assert shown["schema"] == "evalkit/experiment/1"
    assert shown.keys() == {"schema", "proposed", "trials", "decided", "kept", "estimated"}
    assert all(trial["candidate"]["readings"]["loss"]["trust"] == "scored" for trial in shown["trials"])
    assert "kept as" in evalkit("show", 1).out
    assert evalkit("show", 9, code=2).err.startswith("evalkit: the ledger has no experiment 9")

    verified = evalkit("verify", "--json", code=0).json
    assert verified["schema"] == "evalkit/verification/1"
    assert (verified["ok"], verified["problems"]) == (True, [])
    evalkit("verify", "--head", verified["head"], code=0)
    evalkit("verify", "--head", "f" * 64, code=1)

    for number in range(1, 5):
        again = evalkit("replay", number, "--json", code=0).json
        assert again == {"schema": "evalkit/replay/1", "experiment": number, "same": True, "differences": []}
    rerun = evalkit("replay", 2, "--rerun", "--json", code=1).json
    assert (rerun["schema"], rerun["was"], rerun["decision"]) == ("evalkit/rerun/1", "REJECT", "REJECT")

    ledger = tiny.folder / ".evalkit" / "ledger" / "ledger.jsonl"
    assert re.search(r"Evalkit-Ledger: ([0-9a-f]{64})", trailers).group(1) in ledger.read_text()
    whole = ledger.read_bytes()
    ledger.write_bytes(whole.replace(b'"decision":"REJECT"', b'"decision":"KEEP"  ', 1))
    damaged = evalkit("verify", "--json", code=1).json
    assert not damaged["ok"]
    assert "record" in damaged["problems"][0]
    ledger.write_bytes(whole)


def test_inconclusive_says_how_many_more(make_tiny, evalkit, tmp_path):
    tiny = make_tiny()
    text = (tiny.folder / "evalkit.toml").read_text().replace("estimate_pairs = 2", "estimate_pairs = 2\nmax_pairs = 2")
    tiny.write("evalkit.toml", text)
    tiny.commit("fewer pairs")
    verdict = evalkit("submit", tiny.candidate(LEVEL=0.97), "--json", folder=tiny.folder)
    assert verdict.code == 3
    assert (verdict.json["decision"], verdict.json["reason"]) == ("INCONCLUSIVE", "not_enough_evidence")
    assert verdict.json["more_pairs"] > 0


def test_in_a_subfolder_only_the_subfolder_is_the_task(make_tiny, evalkit):
    tiny = make_tiny(subfolder="deep/down")
    (tiny.top / "other.txt").write_text("someone else's\n")
    tiny.commit("more")
    before = tiny.untouched()
    assert evalkit("submit", tiny.candidate(LEVEL=0.96), "--json", folder=tiny.folder).json["decision"] == "KEEP"
    assert tiny.git("diff", "--name-only", "main", "evalkit/tiny", "--", ":/") == "deep/down/solve.py"
    assert tiny.untouched() == before


def test_in_a_shallow_clone(tiny, evalkit):
    tiny.commit("one more")
    clone = tiny.top.parent / "clone"
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{tiny.top}", clone], check=True)
    assert (clone / ".git" / "shallow").exists()
    verdict = evalkit("submit", tiny.candidate(LEVEL=0.96), "--json", folder=clone).json
    assert verdict["decision"] == "KEEP"


def test_run_drives_a_proposer_and_goes_on(tiny, evalkit):
    patches = tiny.top.parent / "patches"
    patches.mkdir()
    for number, level in enumerate((1.5, 0.96, 1.6)):
        diff = tiny.git(
            "diff", "--no-index", "--no-prefix", "solve.py", str(tiny.candidate(LEVEL=level) / "solve.py"), check=False
        )
        body = "\n".join(diff.splitlines()[4:])
        (patches / f"{number}.patch").write_text(f"--- a/solve.py\n+++ b/solve.py\n{body}\n")
    before = tiny.untouched()
    first = evalkit("run", "--patches", patches, "-n", 1, "--json", code=0).json
    assert first["schema"] == "evalkit/run/1"
    assert (first["experiments"], first["ended"]) == (1, "1 experiments are done")
    rest = evalkit("run", "--patches", patches, code=0)
    assert "3 experiments" in rest.out
    assert "all patches were proposed" in rest.out
    assert "KEEP" in rest.err
    assert [entry["decision"] for entry in evalkit("log", "--json").json["experiments"]] == ["REJECT", "KEEP", "REJECT"]
    assert tiny.untouched() == before

    fresh = evalkit("run", "--restart", "--patches", patches, "-n", 1, "--json", code=0)
    assert "old-1" in fresh.err
    assert fresh.json["experiments"] == 1


def test_what_a_user_may_get_wrong(tiny, evalkit, tmp_path):
    assert "log" in evalkit("log").err or evalkit("log").code == 4
    assert evalkit("no-such-command", code=2).err
    assert "Did you mean 'submit'" in evalkit("submti", code=2).err
    assert evalkit("submit", code=2).err
    assert "no folder, no patch and no revision" in evalkit("submit", "nothing", code=2).err
    assert evalkit("submit", "x.patch", code=2).err
    (tiny.folder / "evalkit.toml").write_text("[evalkit\n")
    assert "evalkit.toml:1" in evalkit("submit", "x", code=2).err
    assert evalkit("log", folder=tmp_path, code=2).err


def test_a_contract_that_changed_under_a_run_is_refused(tiny, evalkit):
    evalkit("calibrate", "--pairs", 3, "--json", code=0)
    text = (tiny.folder / "evalkit.toml").read_text()
    (tiny.folder / "evalkit.toml").write_text(text.replace('wall = "10s"', 'wall = "11s"'))
    refused = evalkit("submit", tiny.candidate(LEVEL=0.9), code=2)
    assert "changed: budget" in refused.err
    assert "--restart" in refused.err


def test_calibration_is_told(tiny, evalkit):
    told = evalkit("calibrate", "--pairs", 3, "--json", code=0).json
    assert told["schema"] == "evalkit/calibration/1"
    assert told["pairs"] == 3
    assert told["noise"]["loss"]["sd"] > 0
    assert "3 A/A pairs" in evalkit("calibrate", "--pairs", 3).out


def test_a_submodule_and_lfs_are_refused_with_a_sentence(tiny, evalkit):
    other = tiny.top.parent / "other"
    subprocess.run(["git", "init", "-q", other], check=True)
    who = ["-c", "user.name=U", "-c", "user.email=u@example.org"]
    subprocess.run(["git", "-C", other, *who, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    tiny.git("submodule", "--quiet", "add", str(other), "sub")
    tiny.commit("with a submodule")
    assert "submodule" in evalkit("submit", tiny.candidate(LEVEL=0.9), code=2).err
    tiny.git("rm", "-q", "-f", "sub")
    tiny.write("model.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12\n")
    tiny.git("add", "model.bin")
    tiny.git("commit", "-q", "-m", "with a pointer")
    refused = evalkit("submit", tiny.candidate(LEVEL=0.9))
    assert refused.code == 2
    assert "LFS" in refused.err


def test_a_scorer_that_crashes_and_an_editable_set_that_is_empty(make_tiny, evalkit):
    tiny = make_tiny(score="raise SystemExit('no cases here')\n")
    broken = evalkit("calibrate", folder=tiny.folder, code=4)
    assert "no cases here" in broken.err
    tiny.write("evalkit.toml", (tiny.folder / "evalkit.toml").read_text().replace('"solve.py"]\nh', '"nothing/**"]\nh'))
    tiny.commit("nothing is editable")
    assert "editable" in evalkit("run", "--restart", folder=tiny.folder, code=2).err


SLOW = """\
import os
import time

time.sleep(0.6)
with open("answer.json", "w") as file:
    file.write(str(int(os.environ["EVALKIT_SEED"]) % 97))
"""


def ledger_of(tiny):
    return tiny.folder / ".evalkit" / "ledger" / "ledger.jsonl"


def test_ctrl_c_says_how_to_go_on_and_leaves_nothing(make_tiny, evalkit, start, tmp_path):
    tiny = make_tiny(solve=SLOW)
    own = tmp_path / "tmp"
    own.mkdir()
    running = start(tiny.folder, "run", "-n", "5", TMPDIR=str(own))
    running.until(ledger_of(tiny), records=2)
    ended = running.signal(signal.SIGINT)
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert "`evalkit run` goes on from here, nothing is lost" in ended.out
    assert not list(own.iterdir())
    assert not processes_below(tiny.top.parent)
    assert evalkit("verify", "--json", code=0).json["records"] >= 1  # a record that was being written is taken back


def processes_below(folder):
    """Processes whose command line names a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in line and int(entry.name) != os.getpid():
            found.append(line)
    return found


def test_a_second_run_is_refused_with_the_firsts_pid(make_tiny, evalkit, start):
    tiny = make_tiny(solve=SLOW)
    running = start(tiny.folder, "run", "-n", "5")
    running.until(ledger_of(tiny), records=1)
    second = evalkit("submit", tiny.candidate(LEVEL=0.9), code=4)
    assert str(running.process.pid) in second.err
    assert str(running.process.pid) in evalkit("run", "--restart", code=4).err
    assert evalkit("log", code=0).out.startswith("nothing was decided yet")
    running.signal(signal.SIGKILL)
    evalkit("verify", code=0)


def test_the_state_goes_where_it_is_told_to(tiny, evalkit, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("EVALKIT_STATE", str(elsewhere))
    evalkit("calibrate", "--pairs", 3, code=0)
    assert (elsewhere / "ledger" / "ledger.jsonl").exists()
    assert not (tiny.folder / ".evalkit").exists()
    mode = stat.S_IMODE((elsewhere / "ledger").stat().st_mode)
    assert mode & 0o077 == 0


def test_an_unsafe_sandbox_says_so_in_the_verdict(tiny, evalkit):
    more = '\n[sandbox]\nbackend = "process"\npython = "/usr/bin/python3"\n'
    tiny.write("evalkit.toml", (tiny.folder / "evalkit.toml").read_text() + more)
    tiny.commit("unsafe")
    verdict = evalkit("submit", tiny.candidate(LEVEL=1.5), "--json")
    assert verdict.code != 4, verdict.err
    assert verdict.json["unsafe"].startswith("UNSAFE")


def test_every_json_document_is_one_line_of_work(tiny, evalkit):
    for arguments in (["submit", tiny.candidate(LEVEL=1.5)], ["log"], ["show", 1], ["verify"], ["replay", 1]):
        ran = evalkit(*arguments, "--json")
        document = json.loads(ran.out)
        assert re.fullmatch(r"evalkit/[a-z]+/1", document["schema"])
        assert "NaN" not in ran.out
        assert "Infinity" not in ran.out
