"""What author code might try with sockets."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import socket
import struct


def udp(targets):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def raw(targets):
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


def ping(targets):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)


def multipath_tcp(targets):
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)


def sctp(targets):
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)


def smc(targets):
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 256)


def unix(targets):
    socket.socket(socket.AF_UNIX)


def every_other_family(targets):
    made = []
    for family in range(46):
        for kind in (1, 2, 3, 4, 5, 10):
            if (family, kind) not in ((2, 1), (10, 1)):
                with contextlib.suppress(OSError):
                    made.append([family, kind, socket.socket(family, kind).fileno()])
    return made


def datagram_pair(targets):
    socket.socketpair(type=socket.SOCK_DGRAM)


def packet_pair(targets):
    socket.socketpair(type=socket.SOCK_SEQPACKET)


def listen(targets):
    socket.socket().listen()


def bind(targets):
    socket.socket().bind(("127.0.0.1", 0))


def accept(targets):
    socket.socket().accept()


def fast_open(targets):
    socket.socket().sendto(b"x", 0x20000000, ("127.0.0.1", targets["port"]))


def fast_open_in_a_message(targets):
    socket.socket().sendmsg([b"x"], [], 0x20000000, ("127.0.0.1", targets["port"]))


def fast_open_at_connect(targets):
    socket.socket().setsockopt(socket.IPPROTO_TCP, 30, 1)


def source_route(targets):
    socket.socket().setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\x83\x07\x04\x7f\x00\x00\x01\x00")


def transparent_address(targets):
    socket.socket().setsockopt(socket.IPPROTO_IP, 19, 1)


def bind_to_a_device(targets):
    socket.socket().setsockopt(socket.SOL_SOCKET, 25, b"lo\0")


def upper_layer(targets):
    socket.socket().setsockopt(socket.IPPROTO_TCP, 31, b"tls")


def socket_filter(targets):
    socket.socketpair()[0].setsockopt(socket.SOL_SOCKET, 26, struct.pack("HxxxxxxQ", 0, 0))


def credentials_of_others(targets):
    with socket.socketpair()[0] as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)


def urgent_data_between_unix_sockets(targets):
    one, other = socket.socketpair()
    with one, other:
        one.send(b"x", socket.MSG_OOB)


def ask_a_network_card(targets):
    fcntl.ioctl(socket.socketpair()[0], 0x8912, bytes(64))


def connect(targets):
    with socket.socket() as client:
        client.connect(("127.0.0.1", targets["port"]))


def connect_nowhere(targets):
    ends = socket.socketpair()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.connect(ends[0].fileno(), struct.pack("H14x", 0), 16) == -1:
        raise OSError(ctypes.get_errno(), "connect")
