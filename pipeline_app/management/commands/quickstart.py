"""From a fresh checkout to a server that answers, in one command; run again it keeps everything that exists."""

from __future__ import annotations

import os
import secrets
import socket
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from functions_app import exchange
from functions_app.management.progress import Progress
from functions_app.models import User
from functions_app.runtime import RequirementError
from pipeline_app.models import ApiKey
from pipeline_app.runners import environments

KEY_LABEL = "quickstart"
ADMIN = "admin"


class Command(BaseCommand):
    help = "Sets up everything that is missing (database, packages, admin, key, examples), then serves."
    requires_system_checks: list[str] = []  # they may need what this command makes

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--no-serve", action="store_true", help="set up only, then end")
        parser.add_argument("--host", default="127.0.0.1", help="address to serve on (127.0.0.1)")
        parser.add_argument("--port", type=int, default=8000, help="port to serve on (8000)")

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = options["host"], options["port"]
        if settings.FUNCTIONS_RUNNER != "inline" and not os.environ.get("FUNCTIONS_MIN_ISOLATION"):
            # A first look must work on any machine; the log and the admin say what its isolation is worth.
            settings.FUNCTIONS_MIN_ISOLATION = "process"
        # Taken first, so that a port in use is said before minutes of work.
        listener = None if options["no_serve"] else self._listener(host, port)
        progress = Progress(self.stdout)
        with progress.step("Database") as say:
            call_command("migrate", interactive=False, verbosity=0)
            say(settings.DATABASES["default"]["ENGINE"].rsplit(".", 1)[-1])
        with progress.step("Base packages of functions") as say:
            try:
                say(str(environments.build_base(say)))
            except RequirementError as error:
                raise CommandError(str(error)) from error
        with progress.step("Admin") as say:
            admin = self._admin()
            say(f'"{admin.username}"')
        with progress.step("Examples") as say:
            made, failed = self._examples(admin)
            say(f"{made} loaded" if made else "all there already")
        for sentence in failed:
            progress.line(f"  {sentence}")
        # Last, and shown at once: a run that ends before this point leaves no secret that nobody has seen.
        password, key = self._password(admin), self._key(admin)
        progress.line()
        for line in self._welcome(f"http://{_in_url(host)}:{port}", admin, password, key):
            progress.line(line)
        if not {host, f"[{host}]", "*"} & set(settings.ALLOWED_HOSTS):
            progress.line(f"Only {', '.join(settings.ALLOWED_HOSTS)} may be asked for: ALLOWED_HOSTS takes more names.")
        connections.close_all()
        if listener is not None:
            self._serve(listener, host, port)

    def _listener(self, host: str, port: int) -> socket.socket:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listener = socket.socket(family, kind, protocol)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except (OSError, OverflowError) as error:
            raise CommandError(
                f"Cannot serve on {host}:{port}: {getattr(error, 'strerror', None) or error}. "
                "Stop what uses the port, or choose another one with --port."
            ) from error
        listener.set_inheritable(True)
        return listener

    def _admin(self) -> User:
        """Returns a superuser, made when there is none; it cannot sign in before it has a password."""
        found = User.objects.filter(is_superuser=True, is_active=True).order_by("date_joined").first()
        if found is not None:
            return found
        if User.objects.filter(username=ADMIN).exists():
            raise CommandError(
                f'No superuser exists, and "{ADMIN}" is taken by an ordinary user. Run manage.py createsuperuser first.'
            )
        return User.objects.create_superuser(ADMIN, "", None)

    def _password(self, admin: User) -> str:
        """Returns the password that this call gave to the admin of a first run, empty when the admin had one."""
        if admin.username != ADMIN or admin.has_usable_password() or admin.last_login is not None:
            return ""
        password = os.environ.get("ADMIN_PASSWORD") or secrets.token_urlsafe(12)
        admin.set_password(password)
        admin.save(update_fields=["password"])
        return password

    def _key(self, admin: User) -> str:
        """Returns the text of a key if this call issued one: the first run does, later ones do not."""
        if ApiKey.objects.filter(label=KEY_LABEL).exists():
            return ""
        return ApiKey.objects.issue(admin, label=KEY_LABEL)[1]

    def _examples(self, owner: User) -> tuple[int, list[str]]:
        """Loads the examples that do not exist; returns how many, and a sentence for each thing that went wrong."""
        paths = sorted((settings.BASE_DIR / "examples").glob("*.py"))
        imported = [exchange.import_file(path, owner) for path in paths]
        return sum(one.created for one in imported), [one.error for one in imported if one.error]

    def _welcome(self, url: str, admin: User, password: str, key: str) -> list[str]:
        who = f"user {admin.username}"
        if password:
            who += f", password {'as in ADMIN_PASSWORD' if os.environ.get('ADMIN_PASSWORD') else password}"
        lines = [f"Admin    {url}/admin/", f"         {who}", f"API      {url}/v1"]
        if key:
            body = '{"model": "echo", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'
            curl = (
                f"curl -N {url}/v1/chat/completions -H 'Authorization: Bearer {key}' "
                f"-H 'Content-Type: application/json' -d '{body}'"
            )
            lines += [
                f"API key  {key}",
                "         (shown only now; manage.py create_api_key makes another)",
                "",
                "Try it in another terminal:",
                "",
                curl,
                "",
            ]
        else:
            lines.append(f"API key  shown at the first run; another: manage.py create_api_key {admin.username}")
        return lines

    def _serve(self, listener: socket.socket, host: str, port: int) -> None:
        config = uvicorn.Config(
            "webui_functions.asgi:application",
            host=host,
            port=port,
            log_config=None,
            log_level="warning",
            access_log=False,
        )
        server = AnnouncingServer(config, self._announce, f"Serving on http://{_in_url(host)}:{port}, stop with Ctrl+C")
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            pass  # the ordinary way to stop; uvicorn has shut down by now
        if not server.started:
            raise CommandError("The server did not start; the lines above say why.")

    def _announce(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()


class AnnouncingServer(uvicorn.Server):
    """Says a sentence once it answers, not before."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None], sentence: str) -> None:
        super().__init__(config)
        self._announce = announce
        self._sentence = sentence

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce(self._sentence)


def _in_url(host: str) -> str:
    """Returns the address as it stands in a URL, one to connect to where the server listens on all."""
    if host in {"0.0.0.0", "::"}:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
