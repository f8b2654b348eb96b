"""The layers of the sandbox as the server asks for them, and the part of the machine that author code may read.

``pipeline_app/worker/confine.py`` applies what is configured here, inside.
"""

from __future__ import annotations

import functools
import glob
import os
import resource
import site
import ssl
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

NAMES = ("bubblewrap", "landlock", "seccomp", "capabilities")
WORKER_PACKAGE = Path(__file__).resolve().parent.parent / "worker"

LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64")
DEVICES = ("/dev/null", "/dev/full", "/dev/random", "/dev/urandom")  # not zero: mapped, it is memory that nobody counts
DATA = (
    "/etc/ld.so.cache",
    "/etc/ld-musl-*.path",
    # Certificates, never the folders beside them in which private keys lie.
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates/extracted",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    # Names, time zones, kinds of files.
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/mime.types",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    # The machine's size, as numerical libraries ask for it. Nothing else of /proc: it shows other processes.
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/possible",
    "/sys/devices/system/cpu/present",
)


@dataclass(frozen=True, slots=True)
class Layers:
    """Which layers to use where the machine has them; leaving one out is for tests (``FUNCTIONS_SANDBOX_LAYERS``)."""

    bubblewrap: bool = True
    landlock: bool = True
    seccomp: bool = True
    capabilities: bool = True
    landlock_version: int | None = None
    """Pretends that the kernel knows no later version of Landlock."""

    @classmethod
    def without(cls, names: Iterable[str]) -> Layers:
        """Returns all layers but those named. Raises ``ImproperlyConfigured`` for a name that is none."""
        left_out = [name.strip() for name in names if name.strip()]
        for name in left_out:
            if name not in NAMES:
                raise ImproperlyConfigured(
                    f"FUNCTIONS_SANDBOX_LAYERS: there is no layer {name!r}; there are {', '.join(NAMES)}."
                )
        return cls(**dict.fromkeys(left_out, False))


FILES = 256
"""How many descriptors a worker may have open."""


def settle(pid: int, files: int = FILES) -> None:
    """Finishes a worker from outside, after its first message and before any author code.

    Puts it first in line when memory runs out, and takes away the descriptors it needed to send that message.
    Raises ``ProcessLookupError`` when it has gone.
    """
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text("800")
    except (PermissionError, FileNotFoundError):
        pass  # the memory watch still ends it
    if sys.platform == "linux":
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, files))


# --- What may be read -----------------------------------------------------------------------------------------


def interpreter() -> str:
    """Returns the path of the interpreter itself, without the virtual environment around it."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def readable(packages: Iterable[str | Path] = ()) -> list[str]:
    """Returns everything that author code may read: the machine's part, the worker's program, and packages."""
    return [*system_paths(), str(WORKER_PACKAGE), *(str(folder) for folder in packages)]


def readable_in_worker(packages: Iterable[str | Path] = ()) -> list[str]:
    """Returns the same for a worker's own layer: whole folders, of which the zygote's layer has taken parts away."""
    return [*system_folders(), *_files(), str(WORKER_PACKAGE), *(str(folder) for folder in packages)]


@functools.cache
def system_paths() -> tuple[str, ...]:
    """Returns the files and folders of this machine that Python, its libraries and their data are in.

    Packages installed beside the standard library are left out: they are the server's.
    """
    inside = [path for folder in system_folders() for path in _without(Path(folder), package_folders())]
    return tuple(dict.fromkeys((*inside, *_files())))


@functools.cache
def system_folders() -> tuple[str, ...]:
    """Returns the folders of ``system_paths`` as a whole, packages included."""
    folders = [*LIBRARIES, sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib", vars=_base())]
    known = [folder for folder in dict.fromkeys(map(os.path.realpath, folders)) if os.path.isdir(folder)]
    return tuple(known)


@functools.cache
def package_folders() -> frozenset[Path]:
    """Returns the folders that hold packages of the interpreter or of the server."""
    base = sysconfig.get_paths(vars=_base())
    found = {base["purelib"], base["platlib"], sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    found |= {*site.getsitepackages(), *site.getsitepackages([sys.base_prefix])}
    found |= {path for prefix in ("/usr", "/usr/local") for path in glob.glob(f"{prefix}/lib/python3*/*-packages")}
    return frozenset(Path(os.path.realpath(path)) for path in found if os.path.isdir(path))


def _base() -> dict[str, str]:
    return {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}


@functools.cache
def _files() -> tuple[str, ...]:
    certificates = ssl.get_default_verify_paths()
    named = [interpreter(), *DEVICES, *DATA, certificates.openssl_cafile, certificates.openssl_capath]
    named += [f"{prefix}/lib/*.so*" for prefix in (sys.base_prefix, "/usr/local")]
    named += _libraries_elsewhere()
    return tuple(dict.fromkeys(path for pattern in named for path in sorted(glob.glob(pattern))))


def _libraries_elsewhere() -> Iterator[str]:
    """Yields patterns for the libraries in folders that this process has loaded one from, as with Nix and Conda.

    Only the libraries, not the folder: with a preloaded allocator it may be somebody's home.
    """
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except FileNotFoundError:
        return
    usual = [*package_folders(), *(Path(os.path.realpath(path)) for path in (*sys.path, *system_folders()) if path)]
    for folder in sorted({os.path.dirname(line.split(maxsplit=5)[-1]) for line in lines if ".so" in line}):
        if folder.startswith("/") and not any(Path(folder).is_relative_to(path) for path in usual):
            yield f"{glob.escape(folder)}/*.so*"


def _without(folder: Path, excluded: frozenset[Path]) -> Iterator[str]:
    """Yields the folder, or in its place what it holds, so that no excluded folder is among it."""
    if folder in excluded:
        return
    if not any(path.is_relative_to(folder) for path in excluded):
        yield str(folder)
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _without(Path(entry.path), excluded)
        elif not entry.is_symlink():
            yield entry.path
