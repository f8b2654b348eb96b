"""The packages that functions find installed, in directories of their own.

Base packages (``requirements-functions.txt``, locked with hashes) are installed by uv into
``FUNCTIONS_ENVIRONMENTS/base-<digest>``, never among the server's own packages. The digest covers
the lock and the interpreter, so a directory is never wrong, only unused: a changed lock makes a new one.
It is built aside and moved into place, so whoever sees it sees all of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import uv
from django.conf import settings
from packaging.requirements import InvalidRequirement, Requirement

from functions_app.runtime import RequirementError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

logger = logging.getLogger(__name__)

LOCK_NAME = "requirements-functions.txt"
INSTALL_COMMAND = "manage.py install_requirements"
# Lines of uv's message that an error repeats; resolver explanations can be pages long.
MESSAGE_LINES = 12

# Variables that both programs have under different names.
PIP_TO_UV = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_CERT": "SSL_CERT_FILE"}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BasePackages:
    """One set of base packages: the lock they come from and the directory they live in."""

    lock: Path
    path: Path
    # Normalised name to version, as the lock pins them for this interpreter and others.
    pins: dict[str, str]

    @property
    def is_built(self) -> bool:
        """Whether the directory is there; it is complete whenever it is there."""
        return self.path.is_dir()


def python_tag() -> str:
    """Returns interpreter and platform as a name, for example ``cpython-311-linux-x86_64``."""
    return f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"


def base_packages() -> BasePackages:
    """Returns the base packages of this installation, built or not. Raises ``RequirementError`` without a lock file."""
    lock: Path = settings.BASE_DIR / LOCK_NAME
    try:
        text = lock.read_bytes()
    except OSError as error:
        raise RequirementError(
            f"The list of base packages cannot be read: {lock} ({error.strerror}). It belongs beside manage.py; "
            "restore it from the repository."
        ) from error
    digest = hashlib.sha256(text + b"\0" + python_tag().encode()).hexdigest()[:24]
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text.decode(), re.MULTILINE)
    return BasePackages(
        lock=lock,
        path=settings.FUNCTIONS_ENVIRONMENTS / f"base-{digest}",
        pins={re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins},
    )


def base_path() -> Path | None:
    """Returns the directory of the base packages, or None while it is not built."""
    base = base_packages()
    return base.path if base.is_built else None


def build_base(progress: Progress | None = None) -> Path:
    """Returns the directory of the base packages, built first when it is missing.

    May take a minute; processes that ask at the same time wait for the one that builds. ``progress``
    is told a short sentence for every step. Raises ``RequirementError`` with uv's own message.
    """
    say = progress or _silent
    base = base_packages()
    if base.is_built:
        return base.path
    root = base.path.parent
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(root / f".{base.path.name}.lock", say):
            if not base.is_built:
                say(f"Installing what {base.lock.name} lists")
                _build(base, say)
    except OSError as error:
        raise RequirementError(
            f"The base packages cannot be written to {root}: {error.strerror or error}. "
            f"Make room or point FUNCTIONS_ENVIRONMENTS to a writable folder, then run {INSTALL_COMMAND} again."
        ) from error
    return base.path


def add_base_to_path() -> Path | None:
    """Appends the base packages to the end of ``sys.path``, once, and returns their directory; None while not built.

    The end, so that the server's own packages always win: a function can never replace what the server runs on.
    """
    path = base_path()
    if path is not None and str(path) not in sys.path:
        sys.path.append(str(path))
    return path


def check_requirements(requirements: Iterable[str]) -> None:
    """Checks that what a function asks for is there. Raises ``RequirementError`` that names what is missing.

    Nothing is installed for a single function yet. Where another version is there, it is used, with a warning.
    """
    missing: list[str] = []
    for text in requirements:
        try:
            wanted = Requirement(text)
        except InvalidRequirement as error:
            raise RequirementError(f"{text!r} is not a requirement as PEP 508 writes it: {error}.") from error
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        found = _installed_version(wanted.name)
        if found is None:
            missing.append(text)
        elif not wanted.specifier.contains(found, prereleases=True):
            logger.warning("A function asks for %s and gets version %s, the one that is installed", text, found)
    if not missing:
        return
    if base_path() is None:
        raise RequirementError(
            f"{_listed(missing)} cannot be imported: the base packages are not installed yet. Run {INSTALL_COMMAND}."
        )
    raise RequirementError(
        f"{_listed(missing)} cannot be imported: this server installs no packages for single functions yet, and "
        f"{'it is' if len(missing) == 1 else 'they are'} not among the base packages ({LOCK_NAME})."
    )


def _installed_version(name: str) -> str | None:
    """Returns the version of a package that functions of the inline runner would import, None without one."""
    base = base_path()
    path = [*sys.path, str(base)] if base is not None else sys.path
    for found in metadata.distributions(name=name, path=path):
        return found.version
    return None


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _build(base: BasePackages, say: Progress) -> None:
    for left_over in base.path.parent.glob(f".{base.path.name}.*/"):
        shutil.rmtree(left_over, ignore_errors=True)  # of a build that was killed: whoever builds holds the lock
    aside = Path(tempfile.mkdtemp(prefix=f".{base.path.name}.", dir=base.path.parent))
    try:
        _uv_install(base.lock, aside, say)
        # What is found on disk later, by a person who wonders what this directory is.
        note = {"lock": LOCK_NAME, "python": python_tag(), "packages": base.pins}
        (aside / ".webui-functions.json").write_text(json.dumps(note, indent=1) + "\n")
        aside.chmod(0o755)
        aside.rename(base.path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _uv_install(lock: Path, target: Path, say: Progress) -> None:
    try:
        binary = uv.find_uv_bin()
    except FileNotFoundError as error:
        raise RequirementError(
            "The program uv, which installs packages for functions, is missing. Install the server's own packages "
            "again: pip install -r requirements.txt."
        ) from error
    command = [
        binary, "pip", "install", "--color", "never", "--python", sys.executable, "--target", str(target),
        "--requirements", str(lock), "--require-hashes", "--only-binary", ":all:", "--no-deps", "--compile-bytecode",
    ]  # fmt: skip
    lines: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=_uv_environment()
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            line = line.strip()
            if not line:
                continue
            lines.append(line)
            if not line.startswith("+ "):  # the closing list of everything installed
                say(line)
    if process.returncode:
        raise RequirementError(
            f"The base packages could not be installed from {lock.name} (uv ended with {process.returncode}):\n"
            + "\n".join(f"  {line}" for line in lines[-MESSAGE_LINES:])
            + f"\nCheck the network and the disk, then run {INSTALL_COMMAND} again; nothing was changed."
        )


def _uv_environment() -> dict[str, str]:
    """Returns the environment of uv: ours, with what pip was told of indexes and certificates, no virtual environment.

    Whoever could install the server with pip, through a mirror or a company's proxy, can then install these too.
    """
    ours = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}}
    told = {of_uv: ours[of_pip] for of_pip, of_uv in PIP_TO_UV.items() if ours.get(of_pip)}
    if ssl.get_default_verify_paths().cafile is not None:
        told["UV_SYSTEM_CERTS"] = "true"  # uv brings certificates of its own, which lack a company's
    return told | ours


def _silent(message: str) -> None:
    pass


@contextlib.contextmanager
def _locked(path: Path, say: Progress) -> Iterator[None]:
    """Holds a lock against every other process that uses the folder; the system frees it when a process dies."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Waiting for another process that installs the base packages")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
