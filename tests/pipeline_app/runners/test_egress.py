"""The broker, with a real process whose connections it makes, on asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from ipaddress import ip_address

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from functions_app.policy import Policy
from pipeline_app.runners import egress
from pipeline_app.runners.addresses import LOOPBACK, NO_NETWORK, OWN
from pipeline_app.runners.destinations import Destinations
from pipeline_app.runners.egress import Broker, parse
from pipeline_app.worker import kernel
from tests.pipeline_app.runners.talk import descriptors
from tests.pipeline_app.runners.trapped import TrappedProcess


class Counted(Destinations):
    """Destinations that tell what they counted."""

    @property
    def told(self) -> list[tuple[str, str, int, str, int]]:
        return [
            (contact.verdict, contact.host, contact.port, reason, times)
            for contact, (times, _, reason) in self._seen.items()
        ]


class World:
    """One trapped process, its broker, and a server on loopback that says hello and goodbye."""

    def __init__(self, process: TrappedProcess, port: int) -> None:
        self.process = process
        self.port = port
        self.destinations = Counted()
        self.broker: Broker

    def connect(self, network: str = "public", allow: list[str] | None = None, **kwargs) -> None:
        policy = Policy(network=network, allow=tuple(allow or ()))
        self.broker = Broker(
            "f", policy, self.process.listener, self.process.process.pid, destinations=self.destinations, **kwargs
        )
        self.broker.start()

    async def run(self, code: str):
        return await self.process.run(code.replace("PORT", str(self.port)))


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        with contextlib.suppress(ConnectionError):
            await reader.read(10)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, backlog=1000)
    made = World(TrappedProcess(), server.sockets[0].getsockname()[1])
    try:
        yield made
    finally:
        made.process.end()
        made.broker.close()
        server.close()
        await server.wait_closed()


@contextlib.contextmanager
def full_server() -> Iterator[int]:
    """The port of a server that takes no further connection: whoever connects waits."""
    with socket.socket() as full, contextlib.ExitStack() as filling:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port: int = full.getsockname()[1]
        for _ in range(3):
            waiting = filling.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


Story = Callable[[World], Awaitable[None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def play(request) -> Callable[[Story], None]:
    """Runs a story in a world, on each of the two loops."""

    async def run(story: Story) -> None:
        unhandled: list[dict] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        async with world() as made:
            await story(made)
        assert not unhandled

    def playing(story: Story) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if request.param == "uvloop" else None) as runner:
            runner.run(run(story))

    return playing


BLOCKING = """
import socket
s = socket.socket()
s.connect(("127.0.0.1", PORT))
result = s.recv(5), s.getblocking(), s.get_inheritable(), s.getpeername()[1]
s.close()
"""


def test_a_blocking_socket_connects_and_stays_blocking(play):
    async def story(it: World) -> None:
        it.connect(allow=["127.0.0.1"])
        assert await it.run(BLOCKING) == (b"hello", True, False, it.port)
        assert it.destinations.told == [("reached", "127.0.0.1", it.port, "", 1)]

    play(story)


def test_close_on_exec_stays_as_it_was(play):
    async def story(it: World) -> None:
        it.connect(allow=["127.0.0.1"])
        code = BLOCKING.replace("s = socket.socket()", "s = socket.socket(); s.set_inheritable(True)")
        assert await it.run(code) == (b"hello", True, True, it.port)

    play(story)


def test_a_non_blocking_socket_gets_in_progress_at_once(play):
    async def story(it: World) -> None:
        it.connect(allow=["127.0.0.1"])
        code = """
        import select, socket
        s = socket.socket()
        s.setblocking(False)
        first = s.connect_ex(("127.0.0.1", PORT))
        select.select([], [s], [], 5)
        failed = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        again = s.connect_ex(("127.0.0.1", PORT))
        select.select([s], [], [], 5)
        result = first, failed, again, s.recv(5), s.getblocking()
        s.close()
        """
        assert await it.run(code) == (errno.EINPROGRESS, 0, errno.EISCONN, b"hello", False)

    play(story)


def test_asyncio_and_timeouts_work_in_the_worker(play):
    async def story(it: World) -> None:
        it.connect(allow=["localhost"])
        code = """
        import asyncio, socket
        async def ask():
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
            said = await reader.read(5)
            writer.close()
            await writer.wait_closed()
            return said
        with socket.create_connection(("127.0.0.1", PORT), timeout=3) as s:
            result = asyncio.run(ask()), s.recv(5), s.gettimeout()
        """
        assert await it.run(code) == (b"hello", b"hello", 3.0)

    play(story)


@pytest.mark.parametrize(
    ("family", "host", "number"),
    [
        ("AF_INET", "127.0.0.1", errno.EACCES),
        ("AF_INET", "0.0.0.0", errno.EACCES),
        ("AF_INET", "127.1.2.3", errno.EACCES),
        ("AF_INET", "2130706433", errno.EACCES),
        ("AF_INET", "10.1.2.3", errno.EACCES),
        ("AF_INET", "169.254.169.254", errno.EACCES),
        ("AF_INET6", "::1", errno.EACCES),
        ("AF_INET6", "::", errno.EACCES),
        ("AF_INET6", "::ffff:127.0.0.1", errno.EACCES),
        ("AF_INET6", "64:ff9b::7f00:1", errno.EACCES),
    ],
)
def test_what_is_not_public_is_refused(play, family, host, number):
    async def story(it: World) -> None:
        it.connect()
        code = f"import socket; s = socket.socket(socket.{family}); result = s.connect_ex(({host!r}, PORT)); s.close()"
        assert await it.run(code) == number
        ((verdict, _, port, reason, times),) = it.destinations.told
        assert (verdict, port, times) == ("refused", it.port, 1)
        assert reason

    play(story)


def test_mode_none_refuses_what_is_public_too(play):
    async def story(it: World) -> None:
        it.connect("none")
        code = "import socket; s = socket.socket(); result = s.connect_ex(('8.8.8.8', 443)); s.close()"
        assert await it.run(code) == errno.EACCES
        assert it.destinations.told == [("refused", "8.8.8.8", 443, NO_NETWORK, 1)]

    play(story)


def test_mode_open_reaches_loopback(play):
    async def story(it: World) -> None:
        it.connect("open")
        assert (await it.run(BLOCKING))[0] == b"hello"

    play(story)


def test_an_address_of_the_machine_itself_is_refused_though_public(play):
    async def story(it: World) -> None:
        it.connect(is_own=lambda address: str(address) == "8.8.8.8")
        code = "import socket; s = socket.socket(); result = s.connect_ex(('8.8.8.8', 443)); s.close()"
        assert await it.run(code) == errno.EACCES
        assert it.destinations.told == [("refused", "8.8.8.8", 443, OWN, 1)]

    play(story)


def test_own_addresses_are_known():
    assert egress.is_own(ip_address("127.0.0.1"))
    assert not egress.is_own(ip_address("192.0.2.1"))


def test_a_refused_connection_and_one_without_a_server_differ(play):
    async def story(it: World) -> None:
        it.connect(allow=["127.0.0.1"])
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            closed = unused.getsockname()[1]
            code = f"""
            import socket
            s = socket.socket()
            one = s.connect_ex(("127.0.0.1", {closed}))
            s.setblocking(False)
            two = s.connect_ex(("127.0.0.1", {closed}))
            if two == 115:
                import select
                select.select([], [s], [], 5)
                two = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            s.close()
            result = one, two
            """
            assert await it.run(code) == (errno.ECONNREFUSED, errno.ECONNREFUSED)

    play(story)


ODD = """
import ctypes, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def connect(fd, address, length):
    return 0 if libc.connect(fd, address, length) == 0 else ctypes.get_errno()
s = socket.socket()
six = socket.socket(socket.AF_INET6)
pipe = os.pipe()
left, right = socket.socketpair()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
good = struct.pack("=H", 2) + struct.pack("!H", PORT) + bytes([127, 0, 0, 1]) + bytes(8)
six_good = struct.pack("=H", 10) + struct.pack("!HI", PORT, 0) + bytes(15) + b"\\1" + bytes(4)
"""


def test_odd_calls_get_the_kernels_own_answers(play):
    async def story(it: World) -> None:
        it.connect(allow=["127.0.0.1"])
        assert await it.run(ODD) is None
        for call, number in {
            "connect(s.fileno(), ctypes.c_void_p(8), 16)": errno.EFAULT,
            "connect(s.fileno(), ctypes.c_void_p(0), 16)": errno.EFAULT,
            "connect(s.fileno(), ctypes.c_void_p(2**63 + 4096), 16)": errno.EFAULT,
            "connect(s.fileno(), good, 1)": errno.EINVAL,
            "connect(s.fileno(), good, 0)": errno.EINVAL,
            "connect(s.fileno(), good, 15)": errno.EINVAL,
            "connect(s.fileno(), good, 2**31 - 1)": errno.EINVAL,
            "connect(s.fileno(), good, -1)": errno.EINVAL,
            "connect(9999, good, 16)": errno.EBADF,
            "connect(-1, good, 16)": errno.EBADF,
            "connect(pipe[0], good, 16)": errno.ENOTSOCK,
            "connect(left.fileno(), good, 16)": errno.EACCES,
            "connect(line.fileno(), good, 16)": errno.EACCES,
            "connect(u.fileno(), good, 16)": errno.EACCES,
            "connect(six.fileno(), good, 16)": errno.EAFNOSUPPORT,
            "connect(s.fileno(), six_good, 28)": errno.EAFNOSUPPORT,
            "connect(s.fileno(), bytes(16), 16)": errno.EAFNOSUPPORT,
            "connect(s.fileno(), struct.pack('=H', 1) + b'/tmp/x', 16)": errno.EACCES,
            "connect(s.fileno(), struct.pack('=H', 40) + bytes(14), 16)": errno.EACCES,
            "connect(six.fileno(), six_good, 20)": errno.EINVAL,
            "connect(s.fileno(), good, 16)": 0,
            "connect(s.fileno(), good, 128)": errno.EISCONN,
        }.items():
            assert await it.run(f"result = {call}") == number, call

    play(story)


def test_any_arguments_leave_the_broker_as_it_was(play):
    async def story(it: World) -> None:
        it.connect("none", allow=["127.0.0.1"])
        code = (
            ODD
            + """
import random
chance = random.Random(7)
libc.syscall.restype = ctypes.c_long
buffer = ctypes.create_string_buffer(256)
fds = [s.fileno(), six.fileno(), pipe[1], left.fileno(), u.fileno(), 0, 9999, 2**31, 2**32 - 1, 2**63]
lengths = [0, 1, 2, 15, 16, 24, 28, 127, 128, 129, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1]
for number in range(190):
    head = struct.pack("=H", chance.choice([0, 1, 2, 2, 10, 10, 16, 40, 65535]))
    buffer.raw = head + bytes(chance.randrange(256) for _ in range(254))
    pointer = chance.choice([ctypes.addressof(buffer), ctypes.addressof(buffer) + 250, 0, 1, 2**47, 2**64 - 1])
    libc.syscall(
        NUMBER, ctypes.c_ulong(chance.choice(fds)), ctypes.c_ulong(pointer), ctypes.c_ulong(chance.choice(lengths))
    )
""".replace("NUMBER", str(kernel.NUMBER["connect"]))
        )
        assert await it.run(code) is None
        assert (await it.run(BLOCKING))[0] == b"hello"
        assert all(verdict == "refused" for verdict, host, *_ in it.destinations.told if host != "127.0.0.1")

    play(story)


@given(st.binary(min_size=2, max_size=128), st.sampled_from([socket.AF_INET, socket.AF_INET6]))
def test_any_bytes_are_an_address_or_an_error(data, family):
    try:
        address, port, scope = parse(data, family)
    except OSError as error:
        assert error.errno
        return
    assert 0 <= port < 65536
    assert scope >= 0
    assert address.version == (4 if family == socket.AF_INET else 6)


def test_a_second_thread_that_swaps_the_address_gains_nothing(play):
    async def story(it: World) -> None:
        it.connect("none", allow=[f"127.0.0.2:{it.port}"])
        code = (
            ODD
            + """
import threading, time
shared = ctypes.create_string_buffer(good, 16)
ends = time.monotonic() + 1.5
def swap():
    while time.monotonic() < ends:
        for last in (1, 2):
            shared[7] = last
reached = []
threading.Thread(target=swap).start()
while time.monotonic() < ends:
    t = socket.socket()
    if connect(t.fileno(), shared, 16) == 0:
        reached.append(t.getpeername()[0])
    t.close()
result = sorted(set(reached))
"""
        )
        assert await it.run(code) in (["127.0.0.2"], [])
        assert {(verdict, host) for verdict, host, *_ in it.destinations.told} <= {
            ("reached", "127.0.0.2"),
            ("refused", "127.0.0.1"),
        }

    play(story)


def test_many_threads_connect_at_once(play):
    async def story(it: World) -> None:
        it.connect(allow=["127.0.0.1"])
        code = """
        import socket
        from concurrent.futures import ThreadPoolExecutor
        def ask(_):
            with socket.create_connection(("127.0.0.1", PORT)) as s:
                return s.recv(5)
        with ThreadPoolExecutor(100) as pool:
            result = set(pool.map(ask, range(150)))
        """
        assert await it.run(code) == {b"hello"}

    play(story)


def test_a_flood_waits_in_the_kernel(play):
    async def story(it: World) -> None:
        it.connect()
        code = """
        import socket, threading, time
        ends = time.monotonic() + 2
        counts = []
        def flood():
            count = 0
            while time.monotonic() < ends:
                with socket.socket() as s:
                    s.connect_ex(("127.0.0.1", PORT))
                count += 1
            counts.append(count)
        threads = [threading.Thread(target=flood) for _ in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        result = sum(counts)
        """
        tried = await it.run(code)
        assert 0 < tried <= 3 * egress.A_SECOND + 100
        assert it.destinations.told == [("refused", "127.0.0.1", it.port, LOOPBACK, tried)]

    play(story)


def test_signals_that_cut_calls_short_do_no_harm(play):
    async def story(it: World) -> None:
        it.connect(allow=["127.0.0.1"])
        with full_server() as port:
            code = f"""
            import signal, socket, time
            signal.signal(signal.SIGALRM, lambda *_: None)
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
            results = set()
            ends = time.monotonic() + 1
            while time.monotonic() < ends:
                for port in ({port}, PORT):
                    with socket.socket() as s:
                        s.settimeout(0.05)
                        results.add(s.connect_ex(("127.0.0.1", port)))
            signal.setitimer(signal.ITIMER_REAL, 0)
            result = 0 in results
            """
            assert await it.run(code) is True
        assert (await it.run(BLOCKING))[0] == b"hello"

    play(story)


def test_slow_servers_take_no_more_than_their_share(play, monkeypatch):
    monkeypatch.setattr(egress, "AT_ONCE", 4)
    monkeypatch.setattr(egress, "PATIENCE", 0.3)

    async def story(it: World) -> None:
        with full_server() as port:
            it.connect(allow=["127.0.0.1"])
            most = 0

            async def look() -> None:
                nonlocal most
                while True:
                    most = max(most, len(it.broker._waiting))
                    await asyncio.sleep(0.01)

            looking = asyncio.create_task(look())
            code = f"""
            import socket
            from concurrent.futures import ThreadPoolExecutor
            def ask(_):
                with socket.socket() as s:
                    return s.connect_ex(("127.0.0.1", {port}))
            with ThreadPoolExecutor(12) as pool:
                result = set(pool.map(ask, range(12)))
            """
            assert await it.run(code) == {errno.ETIMEDOUT}
            looking.cancel()
            assert most == 4
        assert (await it.run(BLOCKING))[0] == b"hello"

    play(story)


def test_a_process_that_dies_in_the_middle_leaves_nothing_behind(play):
    async def story(it: World) -> None:
        before = len(descriptors())
        with full_server() as port:
            it.connect(allow=["127.0.0.1"])
            await it.process.start(f"import socket; socket.socket().connect(('127.0.0.1', {port}))")
            while not it.broker._waiting:
                await asyncio.sleep(0.01)
            it.process.process.kill()
            it.process.process.wait()
            await asyncio.sleep(0.1)
            it.broker.close()
            await asyncio.sleep(0.05)
            assert not it.broker._waiting
        assert len(descriptors()) <= before

    play(story)


def test_a_process_that_ends_is_noticed_without_a_busy_loop(play):
    async def story(it: World) -> None:
        it.connect()
        it.process.process.kill()
        it.process.process.wait()
        await asyncio.sleep(0.1)
        assert not it.broker._reading

    play(story)


def test_descriptors_do_not_pile_up(play):
    async def story(it: World) -> None:
        it.connect(allow=["127.0.0.1"])
        await it.run(BLOCKING)
        before = len(descriptors())
        for _ in range(20):
            await it.run(BLOCKING)
        await asyncio.sleep(0.1)
        assert len(descriptors()) <= before

    play(story)


def test_a_server_without_descriptors_says_so_once_and_goes_on(play, monkeypatch, caplog):
    async def story(it: World) -> None:
        it.connect(allow=["127.0.0.1"])
        code = "import socket; s = socket.socket(); result = s.connect_ex(('127.0.0.1', PORT)); s.close()"
        with monkeypatch.context() as short:

            def none_left(*_: object) -> socket.socket:
                raise OSError(errno.EMFILE, "Too many open files")

            short.setattr(egress.socket, "socket", none_left)
            answers = []
            for _ in range(3):
                await it.process.start(code.replace("PORT", str(it.port)))
                answers.append(await it.process.answer())
        assert answers == [errno.ENOBUFS] * 3
        assert (await it.run(BLOCKING))[0] == b"hello"

    play(story)
    assert [record.getMessage() for record in caplog.records] == [
        "The server has no descriptor left to connect with for function f"
    ]


def test_a_broker_without_a_listener_still_answers_for_names(play):
    async def story(it: World) -> None:
        it.connect()
        names = Broker("f", Policy(network="none"), None, 0, destinations=it.destinations)
        names.start()
        with pytest.raises(egress.Refused, match=r"This function may not reach example.com:443: its policy gives"):
            await names.resolve("example.com", 443)
        names.close()
        assert it.destinations.told == [("refused", "example.com", 443, NO_NETWORK, 1)]

    play(story)


def test_threads_of_other_loops_are_left_alone(play):
    """Two brokers on two loops in two threads, as in a server and its private loop."""

    async def story(it: World) -> None:
        it.connect(allow=["127.0.0.1"])
        said: list[object] = []

        def elsewhere() -> None:
            async def other() -> None:
                async with world() as second:
                    second.connect(allow=["127.0.0.1"])
                    said.append((await second.run(BLOCKING))[0])

            asyncio.run(other())

        thread = threading.Thread(target=elsewhere)
        thread.start()
        said.append((await it.run(BLOCKING))[0])
        await asyncio.to_thread(thread.join)
        assert said == [b"hello", b"hello"]

    play(story)


def test_a_name_that_was_asked_for_here_counts_and_another_does_not(play):
    async def story(it: World) -> None:
        it.connect("none", allow=["api.test"])
        address = "10.255.255.1"
        code = f"""
        import socket
        s = socket.socket()
        s.setblocking(False)
        result = s.connect_ex(({address!r}, 9))
        s.close()
        """
        assert await it.run(code) == errno.EACCES
        it.broker._pins.add("api.test", [ip_address(address)])
        assert await it.run(code) != errno.EACCES
        assert [told[:2] for told in it.destinations.told] == [("refused", address), ("reached", "api.test")]

    play(story)
