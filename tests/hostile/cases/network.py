"""Reaching what stands in the server's network: every address form, socket kind and library."""

from __future__ import annotations

from tests.hostile.cases.case import KILLED, UNHARMED, WORKS, Chapter

case = Chapter("Network", layer="egress broker")
MORE = "also=(errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT)"


def by_library(code: str) -> str:
    """An attack through a library, whose exceptions are its own: the record of the victim's listeners decides."""
    return (
        f"async def attack(v):\n    try:\n        got = {code}\n"
        "    except (OSError, Exception) as error:\n        return f'held: {type(error).__name__}: {error}'\n"
        "    return f'LEAK: {got!r:.200}'"
    )


case(188, "loopback v4", "return attempt(connect, '127.0.0.1', v['tcp'])")
case(189, "loopback v6", "return attempt(connect, '::1', v['tcp6'], socket.AF_INET6)")
case(190, "0.0.0.0", "return attempt(connect, '0.0.0.0', v['tcp'])")
case(191, "mapped ::ffff:127.0.0.1", "return attempt(connect, '::ffff:127.0.0.1', v['tcp'], socket.AF_INET6)")
case(192, "127.1.2.3", "return attempt(connect, '127.1.2.3', v['tcp'])")
case(193, "metadata 169.254.169.254", "return attempt(connect, '169.254.169.254', 80)")
case(
    194,
    "private 10/8",
    "return ' '.join(attempt(connect, a, 80) for a in ('10.0.0.1', '172.16.0.1', '192.168.1.1', '100.64.0.1'))",
)
case(195, "name resolving to loopback (rebinding)", "return attempt(connect, v['hostname'], v['tcp'])")
case(196, "localhost name", "return attempt(connect, 'localhost', v['tcp'])")
case(197, "decimal host 2130706433", "return attempt(connect, '2130706433', v['tcp'])")
case(
    198,
    "asyncio open_connection loopback",
    by_library("await asyncio.open_connection('127.0.0.1', v['tcp'])"),
)
case(
    199,
    "requests to loopback",
    by_library("__import__('requests').get(f\"http://127.0.0.1:{v['tcp']}/\", timeout=3).text"),
)
case(
    200,
    "httpx to loopback",
    by_library("__import__('httpx').get(f\"http://127.0.0.1:{v['tcp']}/\", timeout=3).text"),
)
ADDRESS = "struct.pack('=HHI8x', socket.AF_INET, socket.htons({port}), 0x0100007F)"
case(
    201,
    "libc connect by ctypes",
    f"""
    client = socket.socket()
    def reach():
        return syscall(v["nr"]["connect"], client.fileno(), {ADDRESS.format(port="v['tcp']")}, 16)
    return attempt(reach)
    """,
)
case(
    202,
    "address swapped by a second thread (TOCTOU)",
    f"""
    allowed = {ADDRESS.format(port="v['allowed']")}
    forbidden = {ADDRESS.format(port="v['tcp']")}
    place = ctypes.create_string_buffer(allowed, 16)
    stop = False
    def swap():
        while not stop:
            ctypes.memmove(place, forbidden, 16)
            ctypes.memmove(place, allowed, 16)
    sys.setswitchinterval(1e-6)
    threading.Thread(target=swap, daemon=True).start()
    reached = set()
    for _ in range(150):
        client = socket.socket()
        if libc.connect(client.fileno(), place, 16) == 0:
            reached.add(client.getpeername()[1])
        client.close()
    stop = True
    return f"LEAK: {{reached}}" if v["tcp"] in reached else f"held: reached {{reached}}"
    """,
    policy={"time_limit": {"pipe": 30, "first_chunk": 30}},
)
case(
    203,
    "TCP fast open sendto",
    """
    client = socket.socket()
    return attempt(client.sendto, b'hostile', 0x20000000, ('127.0.0.1', v['tcp']), also=(errno.EOPNOTSUPP,))
    """,
    layer="seccomp",
)
case(
    204,
    "TCP fast open sendmsg",
    """
    client = socket.socket()
    return attempt(client.sendmsg, [b'hostile'], [], 0x20000000, ('127.0.0.1', v['tcp']), also=(errno.EOPNOTSUPP,))
    """,
    layer="seccomp",
)
case(
    205,
    "TCP_FASTOPEN_CONNECT",
    """
    client = socket.socket()
    try:
        client.setsockopt(socket.IPPROTO_TCP, 30, 1)
    except OSError:
        return "held: no such option"
    def reach():
        client.connect(("127.0.0.1", v["tcp"]))
        return client.send(b"hostile")
    return attempt(reach)
    """,
)
case(
    206,
    "MPTCP socket",
    f"""
    def reach():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as client:
            client.settimeout(2)
            client.connect(("127.0.0.1", v["tcp"]))
            return "connected"
    return attempt(reach, {MORE})
    """,
    layer="seccomp",
)
case(
    207,
    "SCTP socket",
    f"return attempt(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 132, {MORE})",
    layer="seccomp (socket rules)",
)
case(
    208,
    "UDP sendto",
    "return attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'hostile', ('127.0.0.1', v['udp'])))",
    layer="seccomp",
)
OPEN = "return attempt(socket.socket, {family}, {kind}, {protocol}, " + MORE + ")"
for number, name, family, kind, protocol, layer in (
    (209, "raw socket", "socket.AF_INET", "socket.SOCK_RAW", "6", "seccomp (socket rules)"),
    (210, "icmp ping socket", "socket.AF_INET", "socket.SOCK_DGRAM", "1", "seccomp (socket rules)"),
    (211, "AF_netlink socket", "16", "socket.SOCK_RAW", "0", "seccomp"),
    (212, "AF_packet socket", "17", "socket.SOCK_RAW", "0x0300", "seccomp (socket rules)"),
    (213, "AF_vsock socket", "40", "socket.SOCK_STREAM", "0", "seccomp"),
    (214, "AF_alg socket", "38", "socket.SOCK_SEQPACKET", "0", "seccomp (socket rules)"),
    (215, "AF_bluetooth socket", "31", "socket.SOCK_STREAM", "3", "seccomp (socket rules)"),
    (216, "AF_xdp socket", "44", "socket.SOCK_RAW", "0", "seccomp (socket rules)"),
    (217, "AF_tipc socket", "30", "socket.SOCK_STREAM", "0", "seccomp (socket rules)"),
    (218, "AF_smc socket", "43", "socket.SOCK_STREAM", "0", "seccomp (socket rules)"),
):
    case(number, name, OPEN.format(family=family, kind=kind, protocol=protocol), layer=layer)
case(
    219,
    "unix socket by path",
    "return attempt(lambda: socket.socket(socket.AF_UNIX).connect(v['unix']))",
    layer="seccomp",
)
case(
    220,
    "abstract unix socket",
    "return attempt(lambda: socket.socket(socket.AF_UNIX).connect('\\0' + v['abstract']))",
    layer="seccomp (no AF_UNIX socket); Landlock scope",
)
case(
    221,
    "socketpair dgram + sendto path",
    """
    def reach():
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        return a.sendto(b"hostile", v["unix_datagram"])
    return attempt(reach)
    """,
    layer="seccomp",
)
case(
    222,
    "reconnect the stream socketpair",
    """
    a, b = socket.socketpair()
    return attempt(a.connect, v["unix"], also=(errno.EISCONN,))
    """,
    layer="egress broker (address family)",
)
case(
    223,
    "connect: bad pointer",
    """
    client = socket.socket()
    return attempt(syscall, v['nr']['connect'], client.fileno(), 1, 16, also=(errno.EFAULT,))
    """,
)
case(
    224,
    "connect: huge length",
    "client = socket.socket()\n"
    f"address = ctypes.create_string_buffer({ADDRESS.format(port='80')}, 16)\n"
    "return attempt(syscall, v['nr']['connect'], client.fileno(), address, 0x7FFFFFFF, also=(errno.EINVAL,))",
)
case(
    225,
    "connect: not a socket",
    f"""
    address = {ADDRESS.format(port="v['allowed']")}
    got = [libc.connect(number, address, 16) for number in (os.open("/dev/null", os.O_RDONLY), 250, -1)]
    return f"held: {{got}}"
    """,
    expect=UNHARMED,
)
case(
    226,
    "connect over the channel descriptor",
    f"""
    address = {ADDRESS.format(port="v['allowed']")}
    got = [libc.connect(number, address, 16) for number in sockets()[:2]]
    return f"held: {{got}}"
    """,
    expect=UNHARMED,
)
case(
    227,
    "die in the middle of connect",
    """
    def reach():
        client = socket.socket()
        client.connect(("10.255.255.1", 9))
    for _ in range(20):
        threading.Thread(target=reach, daemon=True).start()
    time.sleep(0.1)
    os._exit(1)
    """,
    expect=(KILLED,),
    layer="egress broker cleans up",
    policy={"allow": ["10.255.255.1:9"]},
)
case(228, "listen without bind", "return attempt(lambda: socket.socket().listen(1))", layer="seccomp")
case(
    229,
    "bind",
    "return attempt(lambda: socket.socket().bind(('127.0.0.1', 0)))",
    layer="seccomp; Landlock's bind right",
)
case(
    230,
    "allow-listed host works",
    """
    import requests
    assert requests.get(f"http://127.0.0.1:{v['allowed']}/", timeout=5).text == "allowed"
    import httpx
    assert httpx.get(f"http://localhost:{v['allowed']}/", timeout=5).text == "allowed"
    return "works"
    """,
    expect=WORKS,
    layer="(must work)",
    policy={"time_limit": {"pipe": 20}},
)
