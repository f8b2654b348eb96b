"""What of this machine author code may read, and the view of it that bubblewrap builds."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from pipeline_app.runners import bubblewrap, layers
from pipeline_app.runners.layers import Layers
from tests.pipeline_app.worker.confined import linux

pytestmark = linux


def is_readable(path, paths):
    return any(Path(os.path.realpath(path)).is_relative_to(os.path.realpath(granted)) for granted in paths)


# --- Choosing layers ------------------------------------------------------------------------------------------


def test_layers_are_left_out_by_name():
    assert Layers.without([]) == Layers()
    assert Layers.without(["bubblewrap", " seccomp "]) == Layers(bubblewrap=False, seccomp=False)


def test_an_unknown_layer_is_said():
    with pytest.raises(ImproperlyConfigured, match="there is no layer 'bwrap'; there are bubblewrap, landlock"):
        Layers.without(["bwrap"])


# --- Reading --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paths", [layers.readable(), layers.readable_in_worker()], ids=["zygote", "worker"])
def test_python_finds_what_it_needs(paths):
    needed = [layers.interpreter(), os.__file__, json_module(), str(layers.WORKER_PACKAGE / "confine.py")]
    assert [path for path in needed if not is_readable(path, paths)] == []


def json_module():
    import _json

    return getattr(_json, "__file__", os.__file__)  # built in, or a library of its own


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/etc/shadow",
        "/etc/ssl/private",
        "/proc/self",
        "/proc/1/environ",
        "/root/.ssh",
        "/home",
        "/tmp",
        "/var",
        "/dev/shm",
        "/dev/mem",
        layers.WORKER_PACKAGE.parent / "models.py",
        layers.WORKER_PACKAGE.parent.parent / "webui_functions" / "settings.py",
        sysconfig.get_path("purelib"),
        Path(sysconfig.get_path("purelib")) / "django",
    ],
)
def test_nothing_else_is_read(path):
    assert not is_readable(path, layers.readable())


def test_the_standard_library_is_read_without_the_packages_in_it():
    beside = Path(sys.base_prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    assert not is_readable(beside, layers.readable())
    assert is_readable(sysconfig.get_path("stdlib") + "/asyncio", layers.readable())


def test_packages_are_added_for_whoever_may_read_them(tmp_path):
    assert str(tmp_path) in layers.readable([tmp_path])
    assert str(tmp_path) in layers.readable_in_worker([str(tmp_path)])


def test_a_worker_has_few_rules():
    assert len(layers.readable_in_worker()) < 80


# --- Finishing a worker --------------------------------------------------------------------------------------------


def test_a_worker_is_finished_from_outside():
    program = "import resource; input(); print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        layers.settle(process.pid, 99)
        assert Path(f"/proc/{process.pid}/oom_score_adj").read_text() == "800\n"
        assert process.communicate("\n")[0] == "99 99\n"
    with pytest.raises(ProcessLookupError):
        layers.settle(process.pid)


# --- The view ------------------------------------------------------------------------------------------------------

LOOK = """
import os, sys
found = [sorted(os.listdir(path)) for path in ("/", "/dev", "/proc", "/etc")]
for path in (sys.argv[1], "/etc/passwd", "/home", "/run", sys.argv[2] + "/webui_functions"):
    found.append(os.path.exists(path))
for path in ("/new", os.path.dirname(os.__file__) + "/new", sys.argv[3] + "/new"):
    try:
        open(path, "x").close()
        found.append("written")
    except OSError as error:
        found.append(error.errno)
found.append([os.uname().nodename, os.getpid() > 2, os.listdir(os.path.dirname(os.__file__) + "/site-packages")])
open("/dev/null", "w").write("x")
print(found)
"""


@pytest.fixture
def view():
    if bubblewrap.why_not():
        pytest.skip(bubblewrap.why_not())
    return bubblewrap


def test_the_view_has_what_may_be_read_and_nothing_else(view, tmp_path):
    (tmp_path / "secret").touch()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    project = layers.WORKER_PACKAGE.parent.parent
    command = [*view.prefix(layers.readable(), [str(scratch)]), layers.interpreter(), "-I", "-S", "-c", LOOK]
    command += [str(tmp_path / "secret"), str(project), str(scratch)]
    done = subprocess.run(command, capture_output=True, text=True, env={}, timeout=30)
    assert done.returncode == 0, done.stderr
    root, dev, proc, etc, *rest = eval(done.stdout)
    assert "home" not in root
    assert dev == ["full", "null", "random", "urandom"]
    assert proc == ["cpuinfo", "meminfo"]
    assert "passwd" not in etc
    assert rest[:5] == [False] * 5
    assert rest[5:8] == [30, 30, "written"]
    assert rest[8] == ["function", True, []]


def test_the_view_has_a_network_only_when_asked(view):
    program = "import socket; print(len(socket.if_nameindex()))"
    counts = []
    for network in (False, True):
        command = [
            *view.prefix(layers.readable(), [], network=network),
            layers.interpreter(),
            "-I",
            "-S",
            "-c",
            program,
        ]
        counts.append(int(subprocess.run(command, capture_output=True, text=True, env={}, check=True).stdout))
    assert counts[0] == 1  # its own loopback
    assert counts[1] == len(os.listdir("/sys/class/net"))


def test_why_it_cannot_be_used_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bubblewrap.why_not.__wrapped__() == "bubblewrap is not installed."
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    program.chmod(0o755)
    said = "bubblewrap cannot be used here: bwrap: setting up uid map: Permission denied"
    assert bubblewrap.why_not.__wrapped__() == said
    program.write_text("#!/bin/sh\nexit 3\n")
    assert bubblewrap.why_not.__wrapped__() == "bubblewrap cannot be used here: it ended with status 3"
