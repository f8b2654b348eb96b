"""What every test may ask for: people, base packages, real servers, real databases.

Two people appear throughout: alice, who may do everything, and bob, who is an ordinary user.
"""

from __future__ import annotations

import inspect
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from asgiref.sync import async_to_sync
from django.test import Client

from functions_app.models import claims
from functions_app.runtime import RequirementError
from pipeline_app.runners import environments
from tests.provider import Provider
from tests.servers import Server, manage, migrated_database
from tests.wheels import make_wheel, packed_again

pytest_plugins = ["tests.stuck"]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs ``async def`` tests as Django's own TestCase does: ORM calls stay in the test's thread and transaction."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    async_to_sync(pyfuncitem.obj)(**{name: pyfuncitem.funcargs[name] for name in wanted})
    return True


LONG = (
    "tests/functions_app/management/test_killed.py",
    "tests/functions_app/test_signin.py",
    "tests/hostile/",
    "tests/load/",
    "tests/pipeline_app/api/functions/test_publishing.py",
    "tests/pipeline_app/api/test_asking.py",
    "tests/pipeline_app/api/test_background.py",
    "tests/pipeline_app/management/test_quickstart.py",
    "tests/pipeline_app/runners/environments/test_store.py",
    "tests/pipeline_app/runners/test_outside.py",
    "tests/pipeline_app/runners/test_process.py",
    "tests/pipeline_app/runners/test_sandboxed_server.py",
    "tests/pipeline_app/runners/test_serving.py",
    "tests/pipeline_app/test_dispatch.py",
    "tests/test_openapi.py",
)
"""Where the tests are that take longest: they come first, so that no process works on one when the others are done."""
BESIDE = "tests/hostile/test_cases.py"
"""Tests that only look at what is run beside the others: they come last, when that is over."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts what takes long first and what is run beside last; the others stay in their order."""

    def turn(item: pytest.Item) -> int:
        if item.nodeid.startswith(BESIDE):
            return 3
        return 1 if item.nodeid.startswith(LONG) else 2

    items.sort(key=turn)


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


# What a function with valves cannot do without.
PYDANTIC = ("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection")


@pytest.fixture(scope="session")
def stock(tmp_path_factory, base_packages) -> Path:
    """A folder of wheels from which sets in place of the base packages can be made: pydantic as it is installed, and
    the other base packages by name alone."""
    folder = tmp_path_factory.mktemp("stock")
    for name in PYDANTIC:
        packed_again(base_packages, name, folder)
    for name, version in environments.base_packages().pins.items():
        if name.replace("-", "_") not in PYDANTIC:
            make_wheel(folder, name.replace("-", "_"), version)
    return folder


@pytest.fixture
def samples_can_be_had(stock, wheels) -> None:
    """Puts in place of the index what the functions of ``samples`` ask for."""
    for wheel in stock.iterdir():
        os.link(wheel, wheels / wheel.name)
    make_wheel(wheels, "markdown", "3.7")


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


@pytest.fixture(autouse=True)
def nobody_renews(monkeypatch) -> None:
    """What a test publishes is published long before a claim ends; renewing it would meet the test's own transaction."""
    monkeypatch.setattr(claims, "renewing", True)


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


@contextmanager
def postgres_database(template: str | None = None) -> Iterator[str]:
    """Gives the URL of a new PostgreSQL database, a copy of the template's or an empty one, and drops it afterwards."""
    import psycopg
    from psycopg import sql

    admin = os.environ.get("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres")
    name = f"webui_functions_{uuid.uuid4().hex[:12]}"
    create = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template is not None:
        create += sql.SQL(" TEMPLATE {}").format(sql.Identifier(urlsplit(template).path.strip("/")))
    with psycopg.connect(admin, autocommit=True, connect_timeout=3) as connection:
        connection.execute(create)
    try:
        yield urlunsplit(urlsplit(admin)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(admin, autocommit=True, connect_timeout=30) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def empty_postgres(tmp_path_factory) -> Iterator[str | None]:
    """The URL of a migrated PostgreSQL database without rows, made once, to be copied; None where no server answers."""
    import psycopg

    with ExitStack() as stack:
        try:
            url = stack.enter_context(postgres_database())
        except psycopg.OperationalError:
            yield None
            return
        manage(tmp_path_factory.mktemp("postgres"), "migrate", "--verbosity", "0", DATABASE_URL=url)
        yield url


@pytest.fixture
def postgres_url(empty_postgres) -> Iterator[str]:
    """The URL of a migrated PostgreSQL database without rows, dropped after the test; skips where no server answers."""
    if empty_postgres is None:
        pytest.skip("no PostgreSQL answers on 127.0.0.1:5432 (or at TEST_POSTGRES_URL)")
    with postgres_database(empty_postgres) as url:
        yield url


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
