"""F: files, and kernel interfaces that look like files."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from evalkit.sandbox.interface import Job, Outcome, Result, Sandbox
from evalkit.sandbox.redteam.arena import Arena
from evalkit.sandbox.redteam.case import SMALL, Case, Held, Mark, door, ending, run

__all__ = ["FILES"]

_NO_NAMESPACE = "needs a mount namespace"
_PLAIN = {"process": "a plain process has the host's files"}
_CLEANUP = 20.0


def _artifact(
    id: str,  # noqa: A002
    attack: str,
    code: str,
    name: str = "out",
    outcome: Outcome = Outcome.FORBIDDEN_ARTIFACT,
) -> Case:
    """A case in which a hostile thing stands where an artefact should be."""

    def check(sandbox: Sandbox, arena: Arena) -> Held:
        began = time.monotonic()
        result = run(sandbox, arena, code, artifacts=(name,), artifact_size=1 << 20)
        quick = time.monotonic() - began < SMALL.wall
        return Held.when(result.outcome is outcome and quick and not result.artifacts, result.problem)

    return Case(id, attack, str(outcome), check)


def _name_refused(*names: str) -> Callable[[Sandbox, Arena], Held]:
    def check(sandbox: Sandbox, arena: Arena) -> Held:
        for name in names:
            try:
                sandbox.start(Job(("python", "-c", "pass"), tree=arena.tree, artifacts=(name,))).wait()
            except ValueError:
                continue
            return Held(Mark.OPEN, f"{name!r} was accepted")
        return Held(Mark.CAPPED, "refused before anything ran")

    return check


def _odd_names(sandbox: Sandbox, arena: Arena) -> Held:
    names = ("-rf", "a\nb", os.fsdecode(b"\xff\xfe.bin"), "x" * 255)
    code = "import os\nfor name in (b'-rf', b'a\\nb', b'\\xff\\xfe.bin', b'x'*255): open(name, 'w').write('1')"
    result = run(sandbox, arena, code, artifacts=names)
    held = result.outcome is Outcome.OK and set(result.artifacts) == set(names)
    result.close()
    return Held.when(held, result.problem or "taken as bytes")


def _cleanup(code: str) -> Callable[[Sandbox, Arena], Held]:
    """The job leaves something that is hard to remove; its end must not take long, and nothing may stay."""

    def check(sandbox: Sandbox, arena: Arena) -> Held:
        limits = replace(SMALL, wall=6)
        began = time.monotonic()
        result = run(sandbox, arena, code, limits=limits)
        took = time.monotonic() - began
        held = took < _CLEANUP and result.outcome is not Outcome.SANDBOX_ERROR
        return Held.when(held, f"{result.outcome}, over after {took:.1f} s {result.problem[:80]}")

    return check


def _fresh(sandbox: Sandbox, arena: Arena) -> Held:
    leave = """
    import os
    for place in ("/tmp/left", "/dev/shm/left", "/box/left", "/var/tmp/left"):
        try: open(place, "w").write("poison")
        except OSError: pass
    """
    look = """
    import os
    print([p for p in ("/tmp/left", "/dev/shm/left", "/box/left", "/var/tmp/left") if os.path.exists(p)])
    """
    run(sandbox, arena, leave)
    said = run(sandbox, arena, look).stdout.text().strip()
    for place in ("/tmp/left", "/dev/shm/left", "/var/tmp/left"):  # noqa: S108 - what an unsafe backend left there
        Path(place).unlink(missing_ok=True)
    return Held.when(said == "[]", f"found: {said}")


def _pristine(sandbox: Sandbox, arena: Arena) -> Held:
    """Whiteouts, opaque directories and user.overlay attributes must not reach the tree or an artefact's meaning."""
    code = """
    import os
    try: os.mknod("whiteout", 0o20000, 0)
    except OSError: pass
    for name in (b"user.overlay.opaque", b"user.overlay.redirect", b"trusted.overlay.opaque"):
        try: os.setxattr(".", name, b"y")
        except OSError: pass
    os.unlink("train.py")
    open("out", "w").write("x")
    """
    result = run(sandbox, arena, code, artifacts=("out",))
    intact = (arena.tree / "train.py").exists() and result.outcome is Outcome.OK
    result.close()
    return Held.when(intact, f"tree intact: {intact}; {result.problem}")


def _modes(result: Result) -> bool:
    return all(
        not os.fstat(artifact.fd).st_mode & (stat.S_ISUID | stat.S_ISGID) for artifact in result.artifacts.values()
    )


def _setuid(sandbox: Sandbox, arena: Arena) -> Held:
    code = """
    import os
    open("out", "w").write("#!/bin/sh")
    try: os.chmod("out", 0o6755)
    except OSError: pass
    """
    result = run(sandbox, arena, code, artifacts=("out",))
    held = result.outcome is Outcome.OK and _modes(result)
    result.close()
    return Held.when(held, "the artefact is a memfd without modes")


FILES: tuple[Case, ...] = (
    door("F1", "open the hidden holdout by its path", "return open(os.environ['SECRET']).read()", **_PLAIN),
    door(
        "F2",
        "write to /, /usr, /etc, /dev",
        """
        written = []
        for path in ("/evil", "/usr/evil", "/etc/evil", "/dev/evil", "/run/evil", "/proc/evil", "/sys/evil"):
            try: open(path, "w").close()
            except OSError: continue
            written.append(path)
        if written: return written
        raise OSError(30, "none")
        """,
    ),
    ending(
        "F3",
        "fill /tmp and /dev/shm",
        """
        for place in ("/tmp/fill", "/dev/shm/fill"):
            try:
                with open(place, "wb") as file:
                    for _ in range(64): file.write(bytes(1 << 20))
                print("UNLIMITED", place)
            except OSError: pass
        """,
        Outcome.DISK,
        Outcome.OK,
        Outcome.NONZERO,
        Outcome.SIGNAL,
        also=lambda result: b"UNLIMITED" not in result.stdout.head,
    ),
    ending(
        "F4",
        "a million empty files on a tmpfs",
        """
        import os
        for n in range(1000000): os.close(os.open(f"/tmp/{n}" if os.access("/tmp", os.W_OK) else str(n), os.O_CREAT | os.O_WRONLY))
        print("UNLIMITED")
        """,
        Outcome.DISK,
        Outcome.NONZERO,
        Outcome.OOM,
        process="no cap on files",
        landlock=_NO_NAMESPACE,
    ),
    ending(
        "F5",
        "fill the workspace",
        """
        n = 0
        while n < 4000:
            n += 1
            with open(f"fill{n}", "wb") as file: file.write(bytes(1 << 19))
            if n * (1 << 19) > 64 << 20: print("UNLIMITED"); break
        """,
        Outcome.DISK,
        process="only single files are capped",
        landlock="only single files are capped",
    ),
    _artifact(
        "F6",
        "a sparse file of a terabyte",
        "import os\nopen('out','w')\ntry: os.truncate('out', 1 << 40)\nexcept OSError: os.truncate('out', 2 << 20)",
    ),
    Case(
        "F7", "very many tiny files", "over in bounded time", _cleanup("for n in range(4000): open(f'{n:0>200}', 'w')")
    ),
    Case(
        "F8",
        "a directory 3,000 deep",
        "removed all the same",
        _cleanup("import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')"),
    ),
    Case("F9", "names with newlines, dashes, bytes that are no text", "taken as bytes", _odd_names),
    _artifact("F10", "the artefact is a link to the holdout", "import os\nos.symlink(os.environ['SECRET'], 'out')"),
    _artifact(
        "F11",
        "a directory above the artefact is a link",
        "import os\nos.symlink(os.path.dirname(os.environ['SECRET']), 'd')",
        name="d/holdout.json",
    ),
    Case(
        "F12",
        "artefact names that lead out",
        "refused",
        _name_refused("../x", "/etc/passwd", "a/../../x", "./x", "a//b", ""),
    ),
    _artifact("F13", "a link into /proc", "import os\nos.symlink('/proc/self/environ', 'out')"),
    _artifact("F14", "a loop of links", "import os\nos.symlink('b', 'out')\nos.symlink('out', 'b')"),
    _artifact("F15", "a link to /dev/zero", "import os\nos.symlink('/dev/zero', 'out')"),
    _artifact("F16", "a FIFO", "import os\nos.mkfifo('out')"),
    _artifact(
        "F17",
        "a unix socket",
        "import os, socket\ntry: socket.socket(socket.AF_UNIX).bind('out')\nexcept OSError: os.mkfifo('out')",
    ),
    _artifact("F18", "two names for one file", "import os\nopen('a','w').write('x')\nos.link('a', 'out')"),
    _artifact("F19", "larger than declared", "open('out','wb').write(bytes((1 << 20) + 1))"),
    Case("F20", "a NUL byte in an artefact's name", "refused", _name_refused("out\0/etc/passwd", "\0")),
    Case("F21", "set-user-id bits on an artefact", "stripped", _setuid),
    door("F22", "make a device node", "os.mknod('null', 0o666 | stat.S_IFCHR, os.makedev(1, 3))\nreturn 'made'"),
    door(
        "F23",
        "hard-link the holdout or a system file into the workspace",
        """
        linked = []
        for path in (os.environ["SECRET"], "/usr/bin/true", "/etc/passwd"):
            try: os.link(path, os.path.basename(path))
            except OSError: continue
            linked.append(path)
        if linked: return linked
        raise OSError(18, "none")
        """,
    ),
    Case("F24", "attributes and capabilities on an artefact", "not carried", _setuid),
    Case(
        "F25",
        "directories without permissions",
        "removed all the same",
        _cleanup(
            "import os\nos.makedirs('a/b/c')\nopen('a/b/c/f','w')\nos.chmod('a/b/c', 0)\nos.chmod('a/b', 0)\nos.chmod('a', 0)"
        ),
    ),
    Case("F26", "forge overlay white-outs and attributes", "the tree stays as it is", _pristine),
    door(
        "F27",
        "open_by_handle_at",
        "handle = struct.pack('II', 8, 1) + bytes(8)\nreturn call(304, -100, handle, 0)",
    ),
    door("F28", "write core_pattern", "os.close(os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY))\nreturn 'open'"),
    door(
        "F29",
        "sysrq, kcore, kernel addresses, timer list",
        """
        found = []
        for path, flags in (("/proc/sysrq-trigger", os.O_WRONLY), ("/proc/kcore", os.O_RDONLY), ("/proc/timer_list", os.O_RDONLY)):
            try:
                fd = os.open(path, flags)
                if flags == os.O_WRONLY or os.read(fd, 16): found.append(path)
            except OSError: pass
        try:
            if int(open("/proc/kallsyms").readline().split()[0], 16): found.append("kallsyms")
        except (OSError, IndexError): pass
        if found: return found
        raise OSError(2, "none")
        """,
    ),
    door(
        "F30",
        "write to /sys and control groups",
        """
        done = []
        for path in ("/sys/kernel/mm/transparent_hugepage/enabled", "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/release_agent"):
            try: os.close(os.open(path, os.O_WRONLY)); done.append(path)
            except OSError: pass
        for path in ("/sys/fs/cgroup/memory/evil", "/sys/fs/cgroup/evil", "/sys/fs/cgroup/unified/evil"):
            try: os.mkdir(path); done.append(path)
            except OSError: pass
        if done: return done
        raise OSError(2, "none")
        """,
    ),
    door(
        "F31",
        "host paths in the list of mounts",
        """
        text = open("/proc/self/mountinfo").read()
        if os.path.dirname(os.environ["SECRET"]) + "/holdout" in text: return "the holdout's path"
        raise OSError(0, "nothing secret")
        """,
        safe="nothing secret there",
    ),
    door(
        "F32",
        "the wrapper's environment",
        "text = open('/proc/1/environ', 'rb').read()\nif text and os.getpid() != 1 and not text.startswith((b'PATH=', b'HOSTNAME=')): return text[:200]\nraise OSError(0, 'empty')",
        safe="empty or its own",
    ),
    door(
        "F33",
        "secrets in the wrapper's arguments",
        "text = open('/proc/1/cmdline', 'rb').read()\nif os.environ['SECRET'].encode() in text and os.getpid() != 1: return text[:200]\nraise OSError(0, 'nothing')",
        safe="nothing secret there",
    ),
    door(
        "F34",
        "memory of process 1",
        "if os.getpid() == 1: raise OSError(0, 'own')\nos.close(os.open('/proc/1/mem', os.O_RDWR))\nreturn 'open'",
        bubblewrap="process 1 is bubblewrap's own, without any right that the job lacks; it dies with the job",
        docker="process 1 is the engine's init, without any right that the job lacks; it dies with the job",
    ),
    door(
        "F35",
        "host devices",
        """
        opened = []
        for name in ("kvm", "fuse", "vda", "sda", "kmsg", "mem", "port", "vsock"):
            try: os.close(os.open("/dev/" + name, os.O_RDWR | os.O_NONBLOCK)); opened.append(name)
            except OSError: pass
        if opened: return opened
        raise OSError(2, "none")
        """,
        **_PLAIN,
    ),
    door(
        "F36",
        "type into the runner's terminal",
        """
        done = []
        for fd in (0, 1, 2):
            for command in (0x5412, 0x5412 | 1 << 32, 0x541C):
                if libc.ioctl(fd, ctypes.c_ulong(command), b"x") == 0: done.append((fd, command))
        try: os.close(os.open("/dev/tty", os.O_RDWR)); done.append("tty")
        except OSError: pass
        if done: return done
        raise OSError(1, "none")
        """,
    ),
    Case("F37", "state left for the next job", "nothing is found", _fresh, {"process": "shares /tmp and /dev/shm"}),
)
