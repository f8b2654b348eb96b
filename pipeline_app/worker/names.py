"""Names of hosts, resolved by the server: a worker cannot ask a name server itself.

Whatever goes through Python's ``socket`` module is covered. Native resolvers are asked to use TCP, which the
policy decides about like any other connection.
"""

from __future__ import annotations

import socket
from typing import Any

from .hosts import HostError, SyncLine, WorkerHost
from .protocol import RESOLVE
from .scope import current

NO_NETWORK = "The policy of this function allows it no network (network)."

_getaddrinfo = socket.getaddrinfo
_connect, _connect_ex = socket.socket.connect, socket.socket.connect_ex


def install(line: SyncLine | None) -> None:
    """Makes the ``socket`` module ask the server for addresses, over ``line``; without one, refuse them all."""

    def addresses(host: str, port: int | None) -> list[str]:
        if line is None:
            raise socket.gaierror(socket.EAI_NONAME, NO_NETWORK)
        scope = current.get()
        caller = scope.host.call_id if scope is not None and isinstance(scope.host, WorkerHost) else 0
        try:
            found = line.ask(caller, RESOLVE, [host, port])
        except HostError as error:
            raise socket.gaierror(socket.EAI_NONAME, str(error)) from None
        return [str(address) for address in found]

    def getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        if host is None or _is_numeric(host) or flags & socket.AI_NUMERICHOST:
            return _getaddrinfo(host, port, family, type, proto, flags)
        name = _text(host)
        number = _number(port)
        found: list[Any] = []
        refused: socket.gaierror | None = None
        for address in addresses(name, number):
            try:
                found += _getaddrinfo(address, number, family, type, proto, (flags & ~socket.AI_ADDRCONFIG) | _NUMERIC)
            except socket.gaierror as error:  # of the other family than the one that was asked for
                refused = error
        if not found:
            raise refused or socket.gaierror(socket.EAI_NONAME, f"{name} has no address.")
        if flags & socket.AI_CANONNAME:
            found[0] = (*found[0][:3], name, found[0][4])
        return found

    def gethostbyname(name: Any) -> str:
        return str(getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])

    def gethostbyname_ex(name: Any) -> tuple[str, list[str], list[str]]:
        found = getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
        return _text(name), [], list(dict.fromkeys(entry[4][0] for entry in found))

    def numeric(endpoint: socket.socket, address: Any) -> Any:
        """Returns the address to connect to with its name, if it has one, resolved."""
        if endpoint.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple) or not address:
            return address
        if not isinstance(address[0], (str, bytes, bytearray)) or not address[0] or _is_numeric(address[0]):
            return address
        return (getaddrinfo(address[0], None, endpoint.family, socket.SOCK_STREAM)[0][4][0], *address[1:])

    def connect(self: socket.socket, address: Any) -> None:
        _connect(self, numeric(self, address))

    def connect_ex(self: socket.socket, address: Any) -> int:
        return _connect_ex(self, numeric(self, address))

    replaced: Any = socket
    replaced.getaddrinfo = getaddrinfo
    replaced.gethostbyname = gethostbyname
    replaced.gethostbyname_ex = gethostbyname_ex
    replaced.socket.connect = connect
    replaced.socket.connect_ex = connect_ex


_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


def _text(host: Any) -> str:
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("utf-8", "replace")
    if not isinstance(host, str):
        raise TypeError("getaddrinfo() argument 1 must be string or None")
    return host


def _is_numeric(host: Any) -> bool:
    try:
        _getaddrinfo(host, None, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except socket.gaierror:
        return False
    except (UnicodeError, ValueError):
        return False
    return True


def _number(port: Any) -> int | None:
    """Returns a port, which may be given by the name of its service."""
    if port is None or isinstance(port, int):
        return port
    text = _text(port)
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return socket.getservbyname(text)
    except OSError:
        raise socket.gaierror(socket.EAI_SERVICE, f"There is no service {text!r}.") from None
