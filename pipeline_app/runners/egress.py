"""The way out: ``connect()`` of a worker is trapped, and the server connects instead, where the policy lets it.

The address is copied once, decided on and used: nothing that the worker does to its memory afterwards changes
what was checked. The worker gets a socket of the server's in the place of its own. What it had set on its own one
(timeouts of the kernel, buffer sizes, marks) is lost but for blocking and close-on-exec; delay of small packets is
off and keep-alive on, as client libraries ask for. A socket that was watched by epoll before it was connected is
not watched any more, since it is another one.

Everything read here was written by author code. Nothing it says raises into the loop, and one notification a turn
is all a worker gets of it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import select
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from functions_app.policy import Policy
from pipeline_app.runners.addresses import OWN, Address, Pins, Refused, Rules
from pipeline_app.runners.destinations import Destinations, log
from pipeline_app.runners.rate import Rate
from pipeline_app.runners.resolver import Resolver
from pipeline_app.worker import kernel
from pipeline_app.worker.kernel import Trapped

__all__ = ["Broker", "Refused"]

logger = logging.getLogger(__name__)

A_SECOND = 200
"""How many connections a second one worker may try; beyond, they wait in the kernel."""
AT_ONCE = 64
"""How many blocking connections of one worker the server tries at the same time."""
PATIENCE = 60.0
"""Seconds until a blocking connection fails with ``ETIMEDOUT``."""
REMEMBERED = 1024

LONGEST = 128
_FAMILY = struct.Struct("=H")
_PORT = struct.Struct("!H")
_SCOPE = struct.Struct("=I")
_LENGTHS = {socket.AF_INET: 16, socket.AF_INET6: 24}
_PROTOCOLS = {b"TCP": socket.AF_INET, b"TCPv6": socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One ``connect()`` as its worker asked for it: which descriptor, what it is, and where it should lead."""

    descriptor: int
    inode: str
    address: Address
    port: int
    scope: int
    blocking: bool
    close_on_exec: bool

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET if self.address.version == 4 else socket.AF_INET6

    @property
    def target(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The address as ``socket`` takes it. Only link-local addresses have a scope: the interface they are on."""
        if isinstance(self.address, IPv4Address):
            return str(self.address), self.port
        return str(self.address), self.port, 0, self.scope if self.address.is_link_local else 0


def attempted(call: Trapped) -> Attempt:
    """Reads what a trapped call asks for. Raises ``OSError`` with what the call should fail with.

    What comes back is of the caller only if the call ``still_waits`` afterwards.
    """
    if call.number != kernel.NUMBER["connect"]:
        raise OSError(errno.EPERM, "not a connect")
    descriptor, pointer, length = call.arguments[0] & 0xFFFFFFFF, call.arguments[1], call.arguments[2] & 0xFFFFFFFF
    inode, family = _kind(call.thread, descriptor)
    address, port, scope = parse(_copied(call.thread, pointer, length), family)
    flags = _flags(call.thread, descriptor)
    return Attempt(descriptor, inode, address, port, scope, not flags & os.O_NONBLOCK, bool(flags & os.O_CLOEXEC))


def _copied(thread: int, pointer: int, length: int) -> bytes:
    if not _FAMILY.size <= length <= LONGEST:
        raise OSError(errno.EINVAL, "no length of an address")
    copy = kernel.read_memory(thread, pointer, length)
    if len(copy) != length:
        raise OSError(errno.EFAULT, "the address ends outside of the memory")
    return copy


def parse(sockaddr: bytes, family: int) -> tuple[Address, int, int]:
    """Returns address, port and scope of a ``sockaddr`` given to a socket of a family. Raises ``OSError``."""
    (said,) = _FAMILY.unpack_from(sockaddr)
    if said == socket.AF_UNSPEC:
        raise OSError(errno.EAFNOSUPPORT, "disconnecting is not offered")
    if said not in _LENGTHS:
        raise OSError(errno.EACCES, "only IP addresses are reached")
    if said != family:
        raise OSError(errno.EAFNOSUPPORT, "the address is of another family than the socket")
    if len(sockaddr) < _LENGTHS[said]:
        raise OSError(errno.EINVAL, "the address is too short")
    (port,) = _PORT.unpack_from(sockaddr, 2)
    if said == socket.AF_INET:
        return IPv4Address(sockaddr[4:8]), port, 0
    scope = _SCOPE.unpack_from(sockaddr, 24)[0] if len(sockaddr) >= 28 else 0
    return IPv6Address(sockaddr[8:24]), port, scope


def _kind(thread: int, descriptor: int) -> tuple[str, int]:
    """Returns inode and family of a TCP socket in a worker. Raises ``OSError`` for whatever else the descriptor is."""
    link = f"/proc/{thread}/fd/{descriptor}"
    try:
        inode = os.readlink(link)
        if not inode.startswith("socket:"):
            raise OSError(errno.ENOTSOCK, "not a socket")
        protocol = os.getxattr(link, "system.sockprotoname").rstrip(b"\0")
    except FileNotFoundError:
        raise OSError(errno.EBADF, "no such descriptor") from None
    if protocol not in _PROTOCOLS:
        # Among them the worker's lines to the server: they stay what they are.
        raise OSError(errno.EACCES, "not a TCP socket")
    return inode, _PROTOCOLS[protocol]


def _flags(thread: int, descriptor: int) -> int:
    try:
        opened = os.open(f"/proc/{thread}/fdinfo/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise OSError(errno.EBADF, "no such descriptor") from None
    try:
        lines = os.read(opened, 4096).split(b"\n")
    finally:
        os.close(opened)
    return next((int(line[6:], 8) for line in lines if line.startswith(b"flags:")), 0)


def _socket(family: socket.AddressFamily) -> socket.socket:
    try:
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        # Not what the worker would make of "too many open files": it is the server that has none left.
        raise OSError(errno.ENOBUFS, "no descriptor left") from None
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made


def is_own(address: Address) -> bool:
    """Whether an address is one of this machine's: what listens here trusts those more who come from here."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))  # sends nothing: it only looks up the way
            return bool(probe.getsockname()[0] == str(address))
        except OSError:
            return False


class Broker:
    """The network of one worker: answers its trapped calls and its questions for names, on the running loop.

    It owns ``notify_fd`` (None where nothing is trapped) and closes it.
    """

    def __init__(
        self,
        function_id: str,
        policy: Policy,
        notify_fd: int | None,
        pid: int,
        *,
        destinations: Destinations = log,
        is_own: Callable[[Address], bool] = is_own,
    ) -> None:
        self.function_id = function_id
        self.pid = pid
        self.rules = Rules(policy.network, policy.allow)
        self._pins = Pins()
        self._destinations = destinations
        self._is_own = is_own
        self._resolver = Resolver(function_id, self.rules, self._pins, self._refuse)
        self._listener = notify_fd
        self._rate = Rate(A_SECOND)
        self._waiting: set[asyncio.Task[None]] = set()
        self._given: OrderedDict[str, int | None] = OrderedDict()
        self._reading = False
        self._short = False
        self._rest: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to answer; to be called on the loop."""
        self._loop = asyncio.get_running_loop()
        if self._listener is not None:
            self._poll = select.poll()
            self._poll.register(self._listener, select.POLLIN)
            self._listen()

    async def resolve(self, name: str, port: int | None) -> list[str]:
        """Returns the addresses of a name that the worker may connect to. Raises ``Refused`` with a sentence."""
        return await self._resolver.addresses(name, port)

    def close(self) -> None:
        """Ends everything at once. What the kernel still holds of the worker's calls fails there."""
        self._resolver.close()
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._deafen()
        for task in self._waiting:
            task.cancel()
        if self._listener is not None:
            os.close(self._listener)
            self._listener = None

    # --- one call ------------------------------------------------------------------------------------

    def _listen(self) -> None:
        if self._listener is not None and not self._reading and self._rest is None and len(self._waiting) < AT_ONCE:
            self._reading = True
            self._loop.add_reader(self._listener, self._next)

    def _deafen(self) -> None:
        if self._reading and self._listener is not None:
            self._reading = False
            self._loop.remove_reader(self._listener)

    def _next(self) -> None:
        """Takes one call and answers it, or begins to."""
        listener = self._listener
        if listener is None:
            return
        # Asking for a call where there is none would block: the worker may just have died, or been quicker.
        events = self._poll.poll(0)
        if not events:
            return
        if not events[0][1] & select.POLLIN:
            self._deafen()  # the worker has gone
            return
        try:
            call = kernel.receive_trapped(listener)
        except OSError as error:
            if error.errno != errno.EINTR:
                logger.error(
                    "Connections of function %s (process %s) can't be made any more: %s",
                    self.function_id,
                    self.pid,
                    error,
                )
                self._deafen()
            return
        if call is None:
            return
        try:
            self._take(listener, call)
        except OSError as error:
            if error.errno == errno.ENOBUFS and not self._short:
                self._short = True
                logger.error("The server has no descriptor left to connect with for function %s", self.function_id)
            self._answer(call, error.errno or errno.EACCES)
        except Exception:
            logger.exception("A connection of function %s could not be decided on", self.function_id)
            self._answer(call, errno.EACCES)
        pause = self._rate.take()
        if pause:
            self._deafen()
            self._rest = self._loop.call_later(pause, self._rested)

    def _rested(self) -> None:
        self._rest = None
        self._listen()

    def _take(self, listener: int, call: Trapped) -> None:
        attempt = attempted(call)
        if not kernel.still_waits(listener, call.id):
            return
        if attempt.inode in self._given:
            # A socket of ours: connected, or about to be. The same call again, when a signal had cut it short.
            unheard = self._given[attempt.inode]
            if self._answer(call, errno.EISCONN if unheard is None else unheard):
                self._given[attempt.inode] = None
            return
        names = self._pins.names(attempt.address)
        host = names[-1] if names else str(attempt.address)
        reason = self._reason(attempt, names)
        if reason:
            self._refuse(host, attempt.port, reason)
            self._answer(call, errno.EACCES)
            return
        self._destinations.reached(self.function_id, host, attempt.port)
        made = _socket(attempt.family)
        if attempt.blocking:
            task = self._loop.create_task(self._wait(call, attempt, made), name=f"connection of {self.function_id}")
            self._waiting.add(task)
            task.add_done_callback(lambda _: made.close())
            task.add_done_callback(self._done)
            if len(self._waiting) >= AT_ONCE:
                self._deafen()
            return
        with made:
            result = made.connect_ex(attempt.target)
            if result in (0, errno.EINPROGRESS):
                self._give(call, attempt, made, result)
            else:
                self._answer(call, result)

    def _reason(self, attempt: Attempt, names: tuple[str, ...]) -> str:
        """Returns why an attempt is refused; empty when it is not."""
        reason = self.rules.refused(attempt.address, attempt.port, names)
        if reason or self.rules.network == "open" or self.rules.allowed(attempt.address, attempt.port, names):
            return reason
        return OWN if self._is_own(attempt.address) else ""

    async def _wait(self, call: Trapped, attempt: Attempt, made: socket.socket) -> None:
        """Connects for a worker whose call waits for it."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._loop.sock_connect(made, attempt.target)
            made.setblocking(True)
            self._give(call, attempt, made, 0)
        except TimeoutError as error:
            self._answer(call, error.errno or errno.ETIMEDOUT)
        except OSError as error:
            self._answer(call, error.errno or errno.ECONNABORTED)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A connection of function %s failed", self.function_id, exc_info=error)
        self._listen()

    def _give(self, call: Trapped, attempt: Attempt, made: socket.socket, result: int) -> None:
        """Puts a socket in the place of the worker's own, and lets its call return."""
        if self._listener is None:
            return
        try:
            kernel.give_descriptor(self._listener, call.id, made.fileno(), attempt.descriptor, attempt.close_on_exec)
        except FileNotFoundError:
            return  # nobody waits for it any more
        inode = f"socket:[{os.fstat(made.fileno()).st_ino}]"
        self._given[inode] = None if self._answer(call, result) else result
        if len(self._given) > REMEMBERED:
            self._given.popitem(last=False)

    def _answer(self, call: Trapped, error: int) -> bool:
        """Lets a call return 0, or fail with an error number; returns whether somebody still waited for it."""
        if self._listener is None:
            return False
        try:
            kernel.answer_trapped(self._listener, call.id, 0, error)
        except FileNotFoundError:
            return False
        except OSError as problem:
            logger.error("A connection of function %s could not be answered: %s", self.function_id, problem)
            return False
        return True

    def _refuse(self, host: str, port: int, reason: str) -> None:
        self._destinations.refused(self.function_id, host, port, reason)
