"""A run in child processes that die at chosen moments; started by test_e2e_kills.py with a folder and a plan.

The child counts every call that changes a file (or starts git, which does) and dies by SIGKILL before, after, or in the
middle of the chosen one; or its parent kills it after so many milliseconds; or from the chosen call on the disk is
full; or there is really only so much room on it; or the clock goes backwards. Trials are pretended: what is tested is
everything around them. The parent imports once and forks, so that hundreds of starts are cheap.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from unittest import mock

from evalkit.contract import Contract
from evalkit.errors import EvalkitError
from evalkit.ledger import verify_file
from evalkit.loop import Session
from evalkit.loop.function import Function
from evalkit.loop.session import Limits
from evalkit.loop.watching import Silent
from evalkit.measure.testing import Said, StubSandbox
from evalkit.sandbox.interface import Outcome
from evalkit.verify import Workbench

WRITERS = (
    "write",
    "pwrite",
    "fsync",
    "fdatasync",
    "rename",
    "replace",
    "unlink",
    "mkdir",
    "link",
    "ftruncate",
    "rmdir",
)


NEED_ROOM = frozenset({"write", "pwrite", "fsync", "fdatasync", "mkdir", "link"})
REFUSED = 3


def pretend(job):
    if job.identity == "scorer":
        return Said(stdout=b'{"loss": ' + job.files["/artifacts/answer.json"].read() + b"}")
    text = (job.tree / "solve.py").read_text()
    found = re.search(r"^LEVEL = (\S+)$", text, flags=re.MULTILINE)
    if found is None:
        return Said(Outcome.NONZERO)
    noise = random.Random(int(job.env["EVALKIT_SEED"])).gauss(0, 0.01)
    return Said(artifacts={"answer.json": json.dumps(float(found[1]) + noise).encode()})


def propose(briefing):
    """Every third proposal is better than what is there, one is no program, the others are worse."""
    file = briefing.workspace / "solve.py"
    text = file.read_text()
    old = float(re.search(r"^LEVEL = (\S+)$", text, flags=re.MULTILINE)[1])
    kind = briefing.experiment % 4
    level = {0: old - 0.04, 1: old + 1 + briefing.experiment / 100, 2: old - 0.041, 3: "nothing"}[kind]
    file.write_text(re.sub(r"^LEVEL = \S+$", f"LEVEL = {level}" if kind != 3 else "LEVEL", text, flags=re.MULTILINE))
    return f"kind {kind}"


def run(folder: Path, experiments: int) -> None:
    contract = Contract.load(folder / "user" / "evalkit.toml")
    with Workbench.open(contract, state=folder / "state", sandbox=StubSandbox(pretend)) as bench:
        Session(bench, Function(propose), Silent()).run(Limits(experiments=experiments))


def needs_room(name, args) -> bool:
    """Whether a call takes room on a disk: pipes and memory files do not."""
    place = str(Path(f"/proc/self/fd/{args[0]}").readlink()) if isinstance(args[0], int) else "/"
    on_disk = place.startswith("/") and not place.startswith("/memfd:")
    return name in NEED_ROOM and on_disk


class Deadly:
    """Counts calls, and dies at the chosen one."""

    def __init__(self, moment: int, how: str) -> None:
        self.left, self.how = moment, how

    def wrap(self, name, real):
        def call(*args, **kwargs):
            self.left -= 1
            if self.left > 0 or (self.how == "full" and not needs_room(name, args)):
                return real(*args, **kwargs)
            if self.how == "full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self.how == "after":
                real(*args, **kwargs)
            elif self.how == "within" and name in {"write", "pwrite"}:
                handle, data, *rest = args
                real(handle, bytes(data)[: max(1, len(data) // 2)], *rest)
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("dead")

        return call


def child(folder: Path, experiments: int, plan: dict) -> None:
    random.seed(plan["seed"])
    if "backwards" in plan:
        real = time.time_ns
        begun = real()
        mock.patch("time.time_ns", side_effect=lambda: 2 * begun - real() - plan["backwards"]).start()
    if "room" in plan:
        fill(folder, plan["room"])
    if "moment" in plan:
        deadly = Deadly(plan["moment"], plan["how"])
        for name in WRITERS:
            mock.patch.object(os, name, deadly.wrap(name, getattr(os, name))).start()
        mock.patch.object(subprocess, "Popen", deadly.wrap("Popen", subprocess.Popen)).start()
    run(folder, experiments)


def fill(folder: Path, room: int) -> None:
    """Leave so many bytes of room on the state's own small disk."""
    ballast = folder / "state" / "ballast"
    free = os.statvfs(folder / "state")
    ballast.write_bytes(b"x" * max(0, free.f_bavail * free.f_bsize - room))


def live(folder: Path, experiments: int, plan: dict) -> int:
    """One life; how it ended (0, or minus the signal)."""
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            child(folder, experiments, plan)
        except (EvalkitError, OSError) as error:  # what the command line says in a sentence
            sys.stderr.write(f"{error}\n")
            os._exit(REFUSED)
        except BaseException:  # noqa: BLE001 - the child must not go on as a second parent
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if "milliseconds" in plan:
        while time.monotonic() - begun < plan["milliseconds"] / 1000:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def git(folder: Path, *arguments: str) -> list[str]:
    command = ["git", "-C", str(folder / "user"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def problems(folder: Path) -> list[str]:
    """What is wrong with the state that a killed run left: ledger against branch."""
    ledger = folder / "state" / "ledger" / "ledger.jsonl"
    lines = ledger.read_bytes().split(b"\n")[:-1] if ledger.exists() else []
    found = []
    if lines:
        whole = folder / "whole.jsonl"
        whole.write_bytes(b"".join(line + b"\n" for line in lines))
        checked = verify_file(whole)
        found += [str(problem) for problem in checked.problems]
    records = [json.loads(line) for line in lines]
    kept = [record["body"] for record in records if record["kind"] == "kept"]
    decided = {r["body"]["experiment"]: r["body"] for r in records if r["kind"] == "decided"}
    branch = git(folder, "for-each-ref", "--format=%(objectname)", "refs/heads/evalkit/tiny")
    commits = git(folder, "rev-list", "--reverse", f"main..{branch[0]}") if branch else []
    recorded = [body["commit"] for body in kept]
    if commits != recorded[: len(commits)] or len(recorded) - len(commits) > 1:
        found.append(f"the branch has {commits}, the ledger {recorded}")
    for body in kept:
        verdict = decided.get(body["experiment"])
        if verdict is None or verdict["decision"] != "KEEP" or verdict["candidate"] != body["tree"]:
            found.append(f"kept without a KEEP: {body}")
    numbers = [r["body"]["experiment"] for r in records if r["kind"] == "decided"]
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(f"experiments {numbers}")
    return found


def main() -> None:
    folder, experiments = Path(sys.argv[1]), int(sys.argv[2])
    plans = json.loads(sys.stdin.read())
    killed, refused, troubles = 0, 0, []
    for plan in plans:
        ended = live(folder, experiments, plan)
        killed += ended == -signal.SIGKILL
        (folder / "state" / "ballast").unlink(missing_ok=True)
        refused += ended == REFUSED
        expected = ended == REFUSED and ("room" in plan or plan.get("how") == "full")
        if ended > 0 and not expected:
            troubles.append(f"{plan}: ended with {ended}")
        troubles += [f"{plan}: {problem}" for problem in problems(folder)]
        if troubles:
            break
        if ended == 0:
            experiments += plan["more"]
    ended = live(folder, experiments, {"seed": 0})
    troubles += [f"at the end: {problem}" for problem in problems(folder)] + ([f"ended {ended}"] if ended else [])
    sys.stdout.write(
        json.dumps({"killed": killed, "refused": refused, "experiments": experiments, "troubles": troubles})
    )


if __name__ == "__main__":
    main()
