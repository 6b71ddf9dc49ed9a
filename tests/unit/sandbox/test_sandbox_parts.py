"""The parts that need no engine."""

import ctypes
import errno
import os
import socket
import struct
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.errors import SandboxUnavailable, UsageError
from evalkit.sandbox import cgroups, counters, open_sandbox, runtime, seccomp
from evalkit.sandbox.artifacts import ArtifactForbidden, ArtifactMissing, collect, collect_all, seal_bytes
from evalkit.sandbox.capture import Capture
from evalkit.sandbox.ending import Ending, judge, reached_file_size
from evalkit.sandbox.helper.plain import remove_tree
from evalkit.sandbox.interface import Limits, Outcome
from evalkit.sandbox.proxy import Destination, HostList, Proxy


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


ALLOW, KILL = 0x7FFF0000, 0x80000000
X86 = 0xC000003E


def decide(code, number, *arguments, architecture=X86):
    """Run a classic BPF program as the kernel would."""
    data = struct.pack("IIQ", number, architecture, 0) + b"".join(
        struct.pack("Q", value & (1 << 64) - 1) for value in (*arguments, *[0] * (6 - len(arguments)))
    )
    program = [struct.unpack_from("HBBI", code, offset) for offset in range(0, len(code), 8)]
    accumulator, at = 0, 0
    while True:
        operation, yes, no, value = program[at]
        at += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("I", data, value)[0]
        elif operation == 0x06:
            return value
        else:
            tests = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}
            at += yes if tests[operation] else no


def refused(number):
    return 0x00050000 | number


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ((0, 1, 2, 3), ALLOW),
        ((41, 1, 1, 0), ALLOW),
        ((41, 2, 2, 0), ALLOW),
        ((41, 10, 1, 0), ALLOW),
        ((41, 40, 1, 0), refused(errno.EAFNOSUPPORT)),
        ((41, 16, 3, 0), refused(errno.EAFNOSUPPORT)),
        ((53, 1, 1, 0), ALLOW),
        ((53, 2, 1, 0), refused(errno.EAFNOSUPPORT)),
        ((56, 0x11), ALLOW),
        ((56, 0x10000011), refused(errno.EPERM)),
        ((56, 0x80), refused(errno.EPERM)),
        ((435, 0, 0), refused(errno.ENOSYS)),
        ((437, 0, 0), refused(errno.ENOSYS)),
        ((16, 0, 0x5413), ALLOW),
        ((16, 0, 0x5412), refused(errno.EPERM)),
        ((16, 0, 0x5412 | 1 << 32), refused(errno.EPERM)),
        ((90, 0, 0o755), ALLOW),
        ((90, 0, 0o4755), refused(errno.EPERM)),
        ((257, 0, 0, 0o101, 0o644), ALLOW),
        ((257, 0, 0, 0o101, 0o2644), refused(errno.EPERM)),
        ((257, 0, 0, 0, 0o2644), ALLOW),
        ((257, 0, 0, 0o20200002, 0o4644), refused(errno.EPERM)),
        ((2, 0, 0o101, 0o4755), refused(errno.EPERM)),
        ((162,), refused(0)),
        ((272, 0), refused(errno.EPERM)),
        ((425, 0), refused(errno.EPERM)),
        ((0x40000000 + 39,), KILL),
    ],
)
def test_filter_on_x86(call, answer):
    assert decide(seccomp.program(machine="x86_64"), *call) == answer


def test_filter_kills_foreign_architectures_and_knows_arm():
    assert decide(seccomp.program(machine="x86_64"), 0, architecture=0x40000003) == KILL
    arm = seccomp.program(machine="aarch64")
    assert decide(arm, 198, 40, architecture=0xC00000B7) == refused(errno.EAFNOSUPPORT)
    assert decide(arm, 198, 2, architecture=0xC00000B7) == ALLOW
    with pytest.raises(KeyError):
        seccomp.program(machine="vax")


def test_filter_without_sockets_allows_pairs_only():
    code = seccomp.program(sockets=False, machine="x86_64")
    assert decide(code, 41, 1, 1) == refused(errno.EAFNOSUPPORT)
    assert decide(code, 53, 1, 1) == ALLOW


def test_docker_profile_denies_what_the_filter_denies():
    profile = seccomp.docker_profile()
    names = {name for rule in profile["syscalls"] for name in rule["names"]}
    assert {"io_uring_setup", "memfd_secret", "unshare", "clone3", "socket", "bpf", "keyctl"} <= names
    assert profile["defaultAction"] == "SCMP_ACT_ALLOW"


@pytest.fixture
def box(tmp_path):
    descriptor = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield descriptor, tmp_path
    os.close(descriptor)


def test_collects_a_plain_file(box):
    (box[1] / "out").write_bytes(b"abc")
    artifact = collect(box[0], "out", 3)
    assert (artifact.read(), artifact.size) == (b"abc", 3)
    artifact.close()


def test_hostile_artifacts_are_refused(box):
    folder = box[1]
    (folder / "real").write_text("x")
    (folder / "d").mkdir()
    (folder / "d" / "f").write_text("x")
    (folder / "link").symlink_to("real")
    (folder / "outside").symlink_to("/etc/passwd")
    (folder / "magic").symlink_to("/proc/self/environ")
    (folder / "dlink").symlink_to("d")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "fifo")
    os.link(folder / "real", folder / "hard")
    with (folder / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "sock"))
    for name in ("link", "outside", "magic", "dlink/f", "loop", "fifo", "hard", "sparse", "sock", "d"):
        with pytest.raises(ArtifactForbidden):
            collect(box[0], name, 100)
    server.close()


def test_absent_artifacts_are_missing_and_the_others_are_closed(box):
    (box[1] / "a").write_text("x")
    before = open_descriptors()
    for name in ("b", "a/b", "nodir/b"):
        with pytest.raises(ArtifactMissing):
            collect_all(box[0], ("a", name), 10)
    assert open_descriptors() == before


def test_a_file_that_grows_is_refused(box):
    left, right = os.pipe()
    from evalkit.sandbox.artifacts import seal  # noqa: PLC0415

    os.write(right, b"x" * 11)
    os.close(right)
    with pytest.raises(ArtifactForbidden, match="grew"):
        seal(left, "out", 10)
    os.close(left)


def test_sealed_bytes_stay():
    sealed = seal_bytes("x", b"abc")
    with pytest.raises(PermissionError):
        os.ftruncate(sealed.fd, 0)
    assert sealed.read() == b"abc"
    sealed.close()


def test_capture_without_anything_kept():
    capture = Capture(0)
    capture.feed(b"abc")
    assert capture.result().total == 3
    assert capture.result().head == b""


LIMITS = Limits(memory=1 << 20)


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        (Ending(exit_code=0), Outcome.OK),
        (Ending(exit_code=1), Outcome.NONZERO),
        (Ending(signal=11), Outcome.SIGNAL),
        (Ending(signal=64), Outcome.SIGNAL),
        (Ending(exit_code=0, oom=1), Outcome.OOM),
        (Ending(reason="memory"), Outcome.OOM),
        (Ending(exit_code=0, pids=3), Outcome.PIDS),
        (Ending(exit_code=0, full=("/box",)), Outcome.DISK),
        (Ending(reason="wall"), Outcome.TIMEOUT_WALL),
        (Ending(reason="wall", oom=1), Outcome.OOM),
        (Ending(reason="cpu"), Outcome.TIMEOUT_CPU),
        (Ending(reason="output", pids=1), Outcome.OUTPUT_LIMIT),
        (Ending(reason="asked"), Outcome.SIGNAL),
        (Ending(began=False), Outcome.SANDBOX_ERROR),
        (Ending(failure="x", oom=1), Outcome.SANDBOX_ERROR),
    ],
)
def test_judgement(ending, outcome):
    assert judge(ending, LIMITS)[0] is outcome


def test_exit_codes_of_wrappers():
    assert Ending.from_exit_code(137) == (None, 9)
    assert Ending.from_exit_code(128) == (128, None)
    assert Ending.from_exit_code(255) == (255, None)


def test_a_file_at_its_limit_is_seen(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(bytes(100))
    descriptor = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    assert reached_file_size(descriptor, 100)
    assert not reached_file_size(descriptor, 99)
    os.close(descriptor)


def test_remove_tree_takes_deep_and_shut_directories(tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    here = Path.cwd()
    os.chdir(top)
    for _ in range(300):
        Path("d").mkdir()
        os.chdir("d")
    os.chdir(here)
    (top / "shut").mkdir()
    (top / "shut" / "f").write_text("x")
    (top / "shut").chmod(0)
    (top / "away").symlink_to("/usr")
    os.mkfifo(top / "fifo")
    remove_tree(str(top))
    assert not top.exists()
    assert Path("/usr").exists()


def fake_v2(tmp_path, procs):
    own = tmp_path / "user.slice" / "scope"
    own.mkdir(parents=True)
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids")
    (own.parent / "cgroup.subtree_control").write_text("memory pids")
    (own / "cgroup.subtree_control").write_text("")
    (own / "cgroup.controllers").write_text("cpu memory pids io")
    (own / "cgroup.procs").write_text(procs)
    return own


def test_a_delegated_v2_group_is_taken_over(tmp_path):
    own = fake_v2(tmp_path, f"{os.getpid()}\n")
    assert cgroups._unified_base(own, tmp_path) == own
    assert (own / "evalkit-runner" / "cgroup.procs").read_text() == "0"
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"


def test_a_v2_group_with_others_in_it_is_left_alone(tmp_path):
    own = fake_v2(tmp_path, f"{os.getpid()}\n1\n")
    assert cgroups._unified_base(own, tmp_path) is None
    (own.parent / "cgroup.subtree_control").write_text("cpu memory pids")
    assert cgroups._unified_base(own, tmp_path) == own.parent


def test_counters_of_v2(tmp_path):
    files = {
        "memory.events": "low 0\noom 2\noom_kill 1\n",
        "memory.peak": "4096\n",
        "pids.events": "max 3\n",
        "pids.peak": "7\n",
        "cpu.stat": "usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    seen = counters.read([("unified", descriptor)])
    assert seen == {"oom": 1, "peak_memory": 4096, "pids": 3, "peak_pids": 7, "user": 2.0, "system": 1.0}
    assert counters.cpu_seconds([("unified", descriptor)]) == pytest.approx(3.0)
    os.close(descriptor)


def test_counters_of_kernels_that_lack_some(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for kind in ("memory", "pids", "cpuacct", "unified"):
        assert counters.read([(kind, descriptor)]) == {}
        assert counters.cpu_seconds([(kind, descriptor)]) is None
    os.close(descriptor)


def test_tags_tell_the_dead_from_the_living():
    tag = cgroups.owner_tag()
    assert not cgroups.is_orphan(f"evalkit-{tag}-0")
    namespace, pid, start = tag.split("-")
    assert cgroups.is_orphan(f"evalkit-{namespace}-{pid}-{int(start) + 1}-0")
    assert not cgroups.is_orphan(f"evalkit-1-{pid}-{int(start) + 1}-0")
    assert not cgroups.is_orphan("evalkit-runner")


def test_runtime_follows_links_and_shows_only_evalkits_package(tmp_path):
    found = runtime.discover()
    assert os.path.realpath(found.python).startswith(("/usr", *found.binds))
    package = str(Path(runtime.evalkit.__file__).resolve().parent)
    assert package in found.binds or any(package.startswith(bind) for bind in found.binds)
    assert str(Path(package).parent) not in found.binds
    with pytest.raises(SandboxUnavailable, match="can't be run"):
        runtime.discover(tmp_path / "python")


def test_another_interpreter_is_asked():
    found = runtime.discover(Path("/usr/bin/python3"))
    assert found.python.startswith("/usr")


def test_unknown_engines_are_a_usage_error():
    for name in ("podman", "bubblewrap:x", ""):
        with pytest.raises(UsageError, match="use one of"):
            open_sandbox(name)


def test_destinations():
    assert Destination.parse("Example.ORG.:8443", 443) == Destination("example.org", 8443)
    assert Destination.parse("[::1]:80", 443) == Destination("::1", 80)
    assert str(Destination.parse("[::1]", 443)) == "[::1]:443"
    for text in ("", ":80", "a b", "host:0", "host:70000", "host:x", "a/b", "x" * 300):
        with pytest.raises(ValueError, match="no usable"):
            Destination.parse(text, 443)


def test_host_lists():
    hosts = HostList(("api.example.org", "*.pypi.org", "localhost:11434"))
    assert hosts.allows(Destination("api.example.org", 443))
    assert not hosts.allows(Destination("api.example.org", 80))
    assert not hosts.allows(Destination("evil-api.example.org", 443))
    assert hosts.allows(Destination("files.pypi.org", 443))
    assert not hosts.allows(Destination("pypi.org", 443))
    assert not hosts.allows(Destination("evilpypi.org", 443))
    assert hosts.is_local_on_purpose(Destination("localhost", 11434))
    assert not hosts.is_local_on_purpose(Destination("api.example.org", 443))


@pytest.fixture
def service():
    """A server on the loopback that answers every connection once."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.sendall(b"seen: " + client.recv(4096))

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def ask(proxy_port, request):
    with socket.create_connection(("127.0.0.1", proxy_port), 5) as client:
        client.sendall(request)
        answer = b""
        while chunk := client.recv(4096):
            answer += chunk
            if b"\r\n\r\n" in answer and answer.startswith(b"HTTP/1.1 200 Conn") and b"seen" not in answer:
                client.sendall(b"hello")
    return answer


def test_proxy_lets_listed_hosts_through_and_writes_down_the_rest(service):
    proxy = Proxy((f"127.0.0.1:{service}", f"localtest.invalid:{service}"))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    proxy.serve(listener)
    assert ask(port, f"CONNECT 127.0.0.1:{service} HTTP/1.1\r\n\r\n".encode()).endswith(b"seen: hello")
    plain = f"GET http://127.0.0.1:{service}/x HTTP/1.1\r\nProxy-Authorization: s\r\n\r\n".encode()
    answer = ask(port, plain)
    assert answer.startswith(b"seen: GET /x HTTP/1.1")
    assert b"Authorization" not in answer
    assert ask(port, f"CONNECT localhost:{service} HTTP/1.1\r\n\r\n".encode()).startswith(b"HTTP/1.1 403")
    assert ask(port, b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 403")
    assert ask(port, b"GET / HTTP/1.1\r\n\r\n") == b""
    assert ask(port, b"\xff\xfe\r\n\r\n") == b""
    assert proxy.contacted() == (f"127.0.0.1:{service}", f"!localhost:{service}", "!127.0.0.1:1")
    proxy.close()


def test_proxy_refuses_names_that_resolve_to_private_addresses(service, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", service))])
    proxy = Proxy((f"rebind.example.org:{service}",))
    assert proxy._connect(Destination("rebind.example.org", service)) is None
    assert proxy.contacted() == (f"!rebind.example.org:{service}",)


def test_library_calls_refuse_nul_bytes():
    from evalkit.sandbox import kernel  # noqa: PLC0415

    for call in (lambda: kernel.mount("a\0b", "/x", "tmpfs"), lambda: kernel.openat2(0, "a\0b", 0, 0)):
        with pytest.raises(ValueError, match="NUL"):
            call()
    assert ctypes.get_errno() >= 0


def test_limits_are_checked():
    assert replace(Limits(), kept=0).kept == 0
