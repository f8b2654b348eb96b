"""What every test may ask for: people, base packages, real servers, real databases.

Two people appear throughout: alice, who may do everything, and bob, who is an ordinary user.
"""

from __future__ import annotations

import inspect
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from asgiref.sync import async_to_sync
from django.test import Client

from functions_app.runtime import RequirementError
from pipeline_app.runners import environments
from tests.provider import Provider
from tests.servers import Server, migrated_database


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs ``async def`` tests as Django's own TestCase does: ORM calls stay in the test's thread and transaction."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    async_to_sync(pyfuncitem.obj)(**{name: pyfuncitem.funcargs[name] for name in wanted})
    return True


# --- People -------------------------------------------------------------------------------------------


@pytest.fixture
def alice(db):
    """Alice runs the place: a superuser, password "alice"."""
    from functions_app.models import User

    return User.objects.create_superuser("alice", "alice@example.org", "alice")


@pytest.fixture
def bob(db):
    """Bob is an ordinary user, password "bob"."""
    from functions_app.models import User

    return User.objects.create_user("bob", "bob@example.org", "bob")


@pytest.fixture
def admin(alice):
    """A browser in which alice is logged in."""
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def staff(db):
    """Logs in a member of staff with exactly the named permissions: a codename of the data app, or ``app.codename``."""
    from django.contrib.auth.models import Permission

    from tests.builders import make_user

    def login(*permissions: str) -> Client:
        user = make_user(is_staff=True)
        for permission in permissions:
            app, _, codename = permission.rpartition(".")
            found = Permission.objects.get(content_type__app_label=app or "functions_app", codename=codename)
            user.user_permissions.add(found)
        client = Client()
        client.force_login(user)
        return client

    return login


# --- Base packages ------------------------------------------------------------------------------------


def pytest_sessionstart() -> None:
    """Puts the base packages on the path as the inline runner does, built first where they are missing."""
    _take_over_base()
    try:
        environments.build_base()
    except RequirementError as error:
        pytest.exit(f"The tests need the base packages of functions. {error}", returncode=pytest.ExitCode.USAGE_ERROR)
    environments.add_base_to_path()


def _take_over_base() -> None:
    """Gives a worker of pytest-xdist the base packages of the process that started it, as links to the same files."""
    base = environments.base_packages()
    built = Path(os.environ["WEBUI_FUNCTIONS_TESTS_ENVIRONMENTS"], base.path.name)
    if built.is_dir() and not base.is_built:
        aside = base.path.with_name(f"{base.path.name}.{uuid.uuid4().hex}")
        shutil.copytree(built, aside, copy_function=os.link)
        aside.rename(base.path)


@pytest.fixture(scope="session")
def base_packages() -> Path:
    """The directory of the base packages, which are kept for later test runs."""
    path = environments.base_path()
    assert path is not None
    return path


@pytest.fixture
def wheels(tmp_path, settings, monkeypatch) -> Iterator[Path]:
    """An empty folder of wheels in place of the index; the sets that are built during the test are removed after it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    settings.FUNCTIONS_WHEELS = folder
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    before = set(settings.FUNCTIONS_ENVIRONMENTS.glob("*"))
    yield folder
    for path in set(settings.FUNCTIONS_ENVIRONMENTS.glob("*")) - before:
        if path.name.startswith("set-"):
            shutil.rmtree(path)
            path.with_name(f".{path.name}.lock").unlink(missing_ok=True)


# --- Real servers -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """A migrated SQLite file without rows, made once; each server starts from a copy."""
    return migrated_database(tmp_path_factory.mktemp("template"))


@pytest.fixture
def start_server(tmp_path, base_packages, empty_database) -> Iterator[Callable[..., Server]]:
    """Starts real servers: ``start_server(data_dir=None, workers=1, **environment)``; all are stopped after the test.

    Two servers with the same ``data_dir`` are two processes of one installation.
    """
    servers: list[Server] = []

    def start(data_dir: Path | None = None, workers: int = 1, **environment: str) -> Server:
        folder = data_dir or tmp_path / f"server-{len(servers)}"
        server = Server(folder, empty_database, workers=workers, environment=environment)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(start_server) -> Server:
    """A real server with a data folder of its own; ``server.url``, ``server.manage("create_api_key", "alice")``."""
    return start_server()


@pytest.fixture
def provider(tmp_path) -> Iterator[Provider]:
    """A real OpenID provider on loopback; ``start_server(**provider.environment)`` lets people sign in through it."""
    running = Provider(tmp_path / "provider")
    yield running
    running.stop()


# --- Real PostgreSQL and Redis, where they answer --------------------------------------------------------


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The URL of an empty PostgreSQL database, dropped after the test; skips where no server answers."""
    import psycopg
    from psycopg import sql

    admin = os.environ.get("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres")
    try:
        connection = psycopg.connect(admin, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL answers on 127.0.0.1:5432 (or at TEST_POSTGRES_URL)")
    name = f"webui_functions_{uuid.uuid4().hex[:12]}"
    with connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    connection = psycopg.connect(admin, autocommit=True, connect_timeout=3)
    try:
        yield urlunsplit(urlsplit(admin)._replace(path=f"/{name}"))
    finally:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.close()


@pytest.fixture
def redis_url() -> Iterator[str]:
    """The URL of an empty Redis database of this test process, flushed afterwards; skips where no server answers."""
    import redis

    base = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379")
    number = 8 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    client = redis.Redis.from_url(f"{base}/{number}")
    try:
        client.flushdb()
    except redis.ConnectionError:
        client.close()
        pytest.skip("no Redis answers on 127.0.0.1:6379 (or at TEST_REDIS_URL)")
    try:
        yield f"{base}/{number}"
    finally:
        client.flushdb()
        client.close()
