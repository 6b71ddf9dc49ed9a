"""P: processes, resources, signals."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

from evalkit.sandbox.interface import Outcome, Sandbox
from evalkit.sandbox.redteam.arena import Arena
from evalkit.sandbox.redteam.case import SMALL, Case, Held, Mark, door, ending, run

__all__ = ["HOSTILE_TREE", "PROCESSES", "marked_processes"]

_NO_PIDS = "needs a process namespace"
_PLAIN = {"process": "no system call filter"}

HOSTILE_TREE = """
import os, signal, sys, time
MARK = {mark!r}
def ignore():
    for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1): signal.signal(s, signal.SIG_IGN)
def daemon(work):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            ignore(); work(); os._exit(0)
        os._exit(0)
    os.wait()
def hop():
    end = time.time() + 60
    while time.time() < end:
        if os.fork() > 0: os._exit(0)
        if os.getsid(0) != os.getpid(): os.setsid()
        time.sleep(0.0005)
daemon(lambda: time.sleep(600))
daemon(lambda: (os.kill(os.getpid(), signal.SIGSTOP), time.sleep(600)))
daemon(hop)
if os.fork() == 0: ignore(); time.sleep(600)
print("READY", flush=True)
"""


def marked_processes(mark: str) -> list[int]:
    """Host pids whose command line holds a mark."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                if mark.encode() in file.read():
                    found.append(int(entry))
        except OSError:
            continue
    return found


def _survivors(last: str, wall: float, *expected: Outcome) -> Callable[[Sandbox, Arena], Held]:
    """A hostile tree; nobody of it may live when the result is there."""

    def check(sandbox: Sandbox, arena: Arena) -> Held:
        mark = f"hostile-{os.getpid()}-{time.monotonic_ns()}"
        began = time.monotonic()
        result = run(sandbox, arena, HOSTILE_TREE.format(mark=mark) + last, limits=replace(SMALL, wall=wall))
        took = time.monotonic() - began
        left = marked_processes(mark)
        held = not left and took < wall + 2 and result.outcome in expected and b"READY" in result.stdout.head
        return Held.when(held, f"{result.outcome}; {len(left)} left after {took:.2f} s {result.problem}")

    return check


def _neighbour(code: str) -> Callable[[Sandbox, Arena], Held]:
    def check(sandbox: Sandbox, arena: Arena) -> Held:
        result = run(sandbox, arena, code)
        lives = arena.neighbour_lives()
        return Held.when(lives and b"HIT" not in result.stdout.head, f"{result.stdout.text().strip()} {result.outcome}")

    return check


def _kill_all(sandbox: Sandbox, arena: Arena) -> Held:
    if "process" in sandbox.name and os.geteuid() != 0:
        return Held(Mark.OPEN, "would end every process of this user; not tried")
    if sandbox.name == "landlock" and "signals to other processes" not in run(sandbox, arena, "").enforced:
        return Held(Mark.OPEN, "would end every process of this user; not tried")
    result = run(
        sandbox, arena, "import os\nfor pid in (1, -1):\n try: os.kill(pid, 9)\n except OSError: pass\nprint('after')"
    )
    alive = arena.neighbour_lives() and result.outcome is not Outcome.SANDBOX_ERROR
    return Held.when(alive, f"{result.outcome}; the neighbour lives: {arena.neighbour_lives()}")


def _prompt_end(sandbox: Sandbox, arena: Arena) -> Held:
    began = time.monotonic()
    result = run(sandbox, arena, "import os, time\nif os.fork() == 0:\n os.setsid()\n time.sleep(60)\nprint('done')")
    took = time.monotonic() - began
    return Held.when(took < 3 and result.outcome is Outcome.OK, f"{result.outcome} after {took:.2f} s")


def _peak(code: str, above: int, outcomes: tuple[Outcome, ...]) -> Callable[[Sandbox, Arena], Held]:
    def check(sandbox: Sandbox, arena: Arena) -> Held:
        result = run(sandbox, arena, code)
        peak = result.usage.peak_memory
        known = peak is not None and peak >= above
        if result.outcome in outcomes and (known or result.outcome is Outcome.OOM):
            return Held(Mark.CAPPED, f"{result.outcome}, peak {peak}")
        return Held(Mark.PARTLY if result.outcome in outcomes else Mark.OPEN, f"{result.outcome}, peak {peak}")

    return check


def _cpu_counted(sandbox: Sandbox, arena: Arena) -> Held:
    code = """
    import os, time
    for _ in range(4):
        if os.fork() == 0:
            os.setsid()
            while True: pass
    time.sleep(1)
    """
    result = run(sandbox, arena, code)
    cpu = result.usage.cpu
    if cpu is None:
        return Held(Mark.OPEN, "CPU time is not known here")
    return Held.when(cpu > 0.3, f"{cpu:.2f} CPU-seconds of killed orphans counted")


def _runner_killed(sandbox: Sandbox, arena: Arena) -> Held:
    """A runner that is killed while its job runs leaves nothing that lives."""
    import signal  # noqa: PLC0415
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    mark = f"orphan-{os.getpid()}-{time.monotonic_ns()}"
    python = getattr(sandbox, "runtime").python  # noqa: B009 - not part of the protocol
    script = (
        "import sys, pathlib\n"
        "from evalkit.sandbox import open_sandbox\nfrom evalkit.sandbox.interface import Job, Limits\n"
        "name, python, tree, mark = sys.argv[1:]\n"
        "s = open_sandbox(name, python=pathlib.Path(python) if python.startswith('/') else None)\n"
        "job = Job(('python', '-c', f'import sys, time; print(1, flush=True); time.sleep(30)  # {mark}'),\n"
        "          tree=pathlib.Path(tree), limits=Limits(wall=30), interactive=True)\n"
        "r = s.start(job)\nimport os; os.read(r.stdout, 1); print('RUNNING', flush=True); r.wait()\n"
    )
    command = [sys.executable, "-c", script, sandbox.name, python, str(arena.tree), f"m{mark}"]
    runner = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert runner.stdout is not None  # noqa: S101
    ready = runner.stdout.readline()
    runner.send_signal(signal.SIGKILL)
    runner.communicate()
    removed = sandbox.sweep() if "docker" in sandbox.name else []
    deadline = time.monotonic() + 5
    while (left := marked_processes(f"m{mark}")) and time.monotonic() < deadline:
        time.sleep(0.01)
    return Held.when(ready.strip() == b"RUNNING" and not left, f"{len(left)} left; swept {len(removed)}")


def _separate_users(sandbox: Sandbox, arena: Arena) -> Held:
    result = run(sandbox, arena, "pass")
    if "own user" in result.enforced and "docker" not in sandbox.name:
        return Held(Mark.CAPPED, "every job has a user of its own")
    return Held(Mark.PARTLY, "jobs share a user; limits of the control group are their own")


def _kept(sandbox: Sandbox, arena: Arena) -> Held:
    result = run(sandbox, arena, "import sys\nsys.stdout.buffer.write(b'\\x00\\x1b[2J\\xff' + b'a' * 100000 + b'END')")
    text = result.stdout.text()
    held = result.stdout.total == 100009 and result.stdout.tail.endswith(b"END") and "\\xff" in text
    return Held.when(held, f"{result.stdout.total} bytes counted, head and tail kept")


_TAKE_OVER = """
import os, time
code = bytes.fromhex("b89d000000bf0100000031f60f05b8220000000f05ebf7")  # prctl(PDEATHSIG, 0); pause() for ever
try:
    pc = int(open("/proc/1/syscall").read().split()[-1], 16)
    memory = os.open("/proc/1/mem", os.O_RDWR)
    os.pwrite(memory, code, pc)
    if os.fork() == 0:
        if os.fork() == 0: os._exit(0)
        os._exit(0)
    os.wait()
    time.sleep(0.2)
    print("TAKEN", flush=True)
except (OSError, ValueError, IndexError) as error: print(error, flush=True)
time.sleep(60)
"""


def _taken_over(sandbox: Sandbox, arena: Arena) -> Held:
    mark = f"taken-{os.getpid()}-{time.monotonic_ns()}"
    began = time.monotonic()
    result = run(sandbox, arena, f"MARK = {mark!r}\n{_TAKE_OVER}", limits=replace(SMALL, wall=1))
    took, left = time.monotonic() - began, marked_processes(mark)
    held = took < 3 and not left and result.outcome in (Outcome.TIMEOUT_WALL, Outcome.NONZERO, Outcome.SIGNAL)
    return Held.when(held, f"{result.stdout.text().strip()}: {result.outcome} after {took:.2f} s, {len(left)} left")


_BOMB = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"

PROCESSES: tuple[Case, ...] = (
    ending("P1", "fork bomb", _BOMB, Outcome.PIDS, Outcome.TIMEOUT_WALL, Outcome.OOM, limits=replace(SMALL, wall=2)),
    ending(
        "P2",
        "thread bomb",
        """
        import threading, time
        try:
            for n in range(5000): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
            print("UNLIMITED")
        except RuntimeError: print("capped at", n, flush=True)
        import os; os._exit(0)
        """,
        Outcome.PIDS,
        Outcome.OK,
        also=lambda result: b"capped" in result.stdout.head,
    ),
    Case("P3", "daemons outlive main", "0 left", _survivors("", 8, Outcome.OK)),
    Case("P4", "ignores every signal", "killed", _survivors("ignore(); time.sleep(600)", 2, Outcome.TIMEOUT_WALL)),
    Case("P5", "stops itself", "killed", _survivors("os.kill(os.getpid(), signal.SIGSTOP)", 2, Outcome.TIMEOUT_WALL)),
    Case("P6", "hops from pid to pid", "0 left", _survivors("time.sleep(0.3)", 8, Outcome.OK)),
    Case("P7", "a daemon holds the output open", "result at once", _prompt_end),
    ending(
        "P8",
        "zombies",
        "import os, time\nfor _ in range(500):\n    if os.fork() == 0: os._exit(0)\ntime.sleep(0.1)",
        Outcome.PIDS,
        Outcome.NONZERO,
    ),
    Case("P9", "kill(1) and kill(-1)", "only its own sandbox dies", _kill_all),
    Case(
        "P10",
        "signal a host process",
        "refused",
        _neighbour(
            "import os\nfor v in ('NEIGHBOUR', 'RUNNER'):\n try: os.kill(int(os.environ[v]), 0)\n except OSError: continue\n print('HIT', v)"
        ),
        {"process": _NO_PIDS},
    ),
    door(
        "P11",
        "ptrace",
        "return call(101, 16, int(os.environ['NEIGHBOUR']), 0, 0) and call(101, 16, os.getppid(), 0, 0)",
    ),
    door(
        "P12",
        "read another process's memory or descriptors",
        """
        pid = int(os.environ["NEIGHBOUR"])
        done = []
        for number, arguments in ((310, (pid, None, 0, None, 0, 0)), (312, (pid, os.getpid(), 1, 0, 0)), (438, (0, 0, 0))):
            try: call(number, *arguments)
            except OSError as error:
                if error.errno in (1, 3, 9, 13, 38): continue
            done.append(number)
        if done: return done
        raise OSError(1, "none")
        """,
        **_PLAIN,
    ),
    door("P13", "kernel keyrings", "return call(248, b'user', b'probe', b'x', 1, -3)", **_PLAIN),
    door("P14", "a user namespace of its own, then mount", "return call(272, 0x10000000)", **_PLAIN),
    door(
        "P15",
        "run a set-user-id program",
        """
        import subprocess
        flags = [l.split()[1] for l in open("/proc/self/status") if l.startswith("NoNewPrivs")]
        if flags == ["1"]: raise OSError(1, "no new privileges")
        return flags
        """,
        safe="gains nothing",
    ),
    door(
        "P16",
        "chroot, pivot_root, setns",
        """
        done = []
        for number, arguments in ((161, (b"/tmp",)), (155, (b".", b".")), (308, (os.open("/proc/self/ns/net", 0) if os.path.exists("/proc/self/ns/net") else -1, 0))):
            try: call(number, *arguments); done.append(number)
            except OSError: pass
        if done: return done
        raise OSError(1, "none")
        """,
    ),
    door(
        "P17",
        "clone3 with namespace flags",
        "return call(435, struct.pack('11Q', 0x10000000, *[0] * 10), 88)",
        **_PLAIN,
    ),
    door(
        "P18",
        "system calls of a foreign architecture",
        "if os.uname().machine != 'x86_64': raise OSError(38, 'no such thing')\nreturn call(0x40000000 + 39)",
    ),
    door(
        "P19",
        "raise its own priority",
        """
        done = []
        try: os.setpriority(os.PRIO_PROCESS, 0, -20); done.append("nice")
        except OSError: pass
        try: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); done.append("fifo")
        except OSError: pass
        if done: return done
        raise OSError(1, "none")
        """,
    ),
    door(
        "P20",
        "run on more processors than it has",
        "os.sched_setaffinity(0, set(range(1024)))\nhave = os.sched_getaffinity(0)\nif len(have) <= os.cpu_count(): raise OSError(22, 'no more than there are')\nreturn have",
        safe="no more than the machine gives",
    ),
    door(
        "P21",
        "escape the OOM killer",
        "fd = os.open('/proc/self/oom_score_adj', os.O_WRONLY)\nos.write(fd, b'-1000')\nreturn 'written'",
    ),
    ending("P22", "1 GB in main", "x = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): x[i] = 1", Outcome.OOM),
    ending(
        "P23",
        "1 GB in a child, main exits with 0",
        "import os\nif os.fork() == 0:\n    x = b'x' * (1 << 30)\n    os._exit(0)\nos.wait()",
        Outcome.OOM,
    ),
    Case(
        "P24",
        "memory in memfds, tmpfs, pipes",
        "charged to the job",
        _peak(
            "import os\nfds = [os.memfd_create('x') for _ in range(64)]\nfor fd in fds: os.write(fd, b'x' * (8 << 20))\nprint('UNLIMITED')",
            200 << 20,
            (Outcome.OOM, Outcome.SIGNAL, Outcome.NONZERO, Outcome.DISK),
        ),
        dict.fromkeys(
            ("bubblewrap", "landlock", "process"), "without a control group, memory that is not mapped is not seen"
        ),
    ),
    ending("P25", "exit code 137", "import os\nos._exit(137)", Outcome.NONZERO, Outcome.SIGNAL),
    door(
        "P26",
        "lock memory, message queues, shared segments",
        """
        done = []
        block = ctypes.create_string_buffer(1 << 20)
        if libc.mlock(block, 1 << 20) == 0: done.append("mlock")
        libc.shmget.restype = ctypes.c_int
        if libc.shmget(int(os.environ["SHM_KEY"]), 4096, 0) >= 0: done.append("segment of the host")
        if done: return done
        raise OSError(1, "none")
        """,
        process="needs an IPC namespace",
        landlock="needs an IPC namespace",
    ),
    door(
        "P27",
        "very many descriptors",
        "held = [os.open('/dev/null', 0) for _ in range(5000)]\nreturn len(held)",
    ),
    door(
        "P28",
        "core dumps",
        "import resource\nif resource.getrlimit(resource.RLIMIT_CORE)[1] == 0: raise OSError(1, 'none')\nreturn resource.getrlimit(resource.RLIMIT_CORE)",
    ),
    Case("P29", "four processes burn CPU and are left behind", "counted", _cpu_counted),
    ending(
        "P30", "sleeps for ever", "import time\ntime.sleep(600)", Outcome.TIMEOUT_WALL, limits=replace(SMALL, wall=0.5)
    ),
    ending(
        "P31", "1 GB of output", "import os\nblock = b'x' * 65536\nwhile True: os.write(1, block)", Outcome.OUTPUT_LIMIT
    ),
    Case("P32", "output without lines, with control characters", "kept as bytes", _kept),
    ending(
        "P33",
        "closes its output early",
        "import os, time\nos.close(1)\nos.close(2)\ntime.sleep(0.3)\nopen('late', 'w')\nos._exit(3)",
        Outcome.NONZERO,
    ),
    ending(
        "P34",
        "rewrites its log through /proc/self/fd/1",
        "import os\nprint('evidence', flush=True)\ntry: os.truncate('/proc/self/fd/1', 0)\nexcept OSError: pass",
        Outcome.OK,
        also=lambda result: b"evidence" in result.stdout.head,
    ),
    ending(
        "P35",
        "reads back its own output",
        "import os\ntry: fd = os.open('/proc/self/fd/1', os.O_RDONLY | os.O_NONBLOCK); print(os.read(fd, 10))\nexcept OSError: print('nothing')",
        Outcome.OK,
        also=lambda result: b"secret" not in result.stdout.head,
    ),
    ending(
        "P36",
        "changes flags of its input",
        "import fcntl, os\nfcntl.fcntl(0, fcntl.F_SETFL, os.O_NONBLOCK)\nprint(os.read(0, 1))",
        Outcome.OK,
        also=lambda result: b"b''" in result.stdout.head,
    ),
    door(
        "P37",
        "set the clock or the host's name",
        """
        done = []
        for number, arguments in ((227, (0, struct.pack("qq", 1 << 62, 1 << 40))), (164, (struct.pack("qq", 1 << 62, 1 << 40), None)), (170, (b"evil", 4))):
            try: call(number, *arguments); done.append(number)
            except OSError as error:
                if error.errno == 22: done.append(number)
        if done: return done
        raise OSError(1, "none")
        """,
        **_PLAIN,
    ),
    door(
        "P38",
        "bpf, perf, userfaultfd, secret memory, personality",
        """
        done = []
        calls = ((321, (5, ctypes.create_string_buffer(128), 128)), (298, (struct.pack("IIQ", 1, 128, 0) + bytes(112), 0, -1, -1, 0)), (323, (1,)), (447, (0,)), (135, (0x0040000,)))
        for number, arguments in calls:
            try: call(number, *arguments); done.append(number)
            except OSError: pass
        if done: return done
        raise OSError(1, "none")
        """,
        **_PLAIN,
    ),
    Case(
        "P39",
        "flush the host's disks all the time",
        "sync does nothing",
        check=lambda sandbox, arena: Held(
            Mark.PARTLY if "seccomp" in run(sandbox, arena, "import os\nos.sync()").enforced else Mark.OPEN,
            "sync and syncfs do nothing where there is a filter",
        ),
        reasons=dict.fromkeys(
            ("bubblewrap", "docker", "landlock", "process"), "what a noisy neighbour does is measured, not blocked"
        ),
    ),
    Case("P40", "the runner is killed", "the job dies too, or is swept", _runner_killed),
    ending("P41", "its pid is given to another process", "import os\nos._exit(0)", Outcome.OK),
    Case(
        "P42",
        "the engine fails half way",
        "swept",
        lambda sandbox, _: Held.when(isinstance(sandbox.sweep(), list), "swept"),
    ),
    Case(
        "P43",
        "outlives the time limit of a command in a warm container",
        "one container for each job",
        _survivors("time.sleep(600)", 1, Outcome.TIMEOUT_WALL),
    ),
    Case("X1", "takes process 1 over and tells it to outlive its parent", "killed all the same", _taken_over),
    Case(
        "P44",
        "exhausts what jobs of one user share",
        "a user for each job",
        _separate_users,
        dict.fromkeys(
            ("bubblewrap", "docker", "landlock", "process"), "an ordinary user, or docker, has one user for all jobs"
        ),
    ),
)
