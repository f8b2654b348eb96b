"""Which addresses and names a function may reach: the network part of its policy, as plain rules.

Nothing here opens a socket or asks a name server; whoever does (``egress.py``) asks here first, about the
address that is really used.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA = "a cloud metadata address"
LOOPBACK = "a loopback address"
PRIVATE = "a private address"
LINK_LOCAL = "a link-local address"
RESERVED = "a reserved or multicast address"
OWN = "an address of the server itself"
NO_NETWORK = "its policy gives it no network"
NOT_ALLOWED = "not on the allow list of its policy"

_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google Cloud and most others
        "169.254.169.253",  # AWS: its name server
        "169.254.169.123",  # AWS: its clock
        "169.254.170.2",  # AWS: credentials of containers
        "169.254.170.23",  # AWS: credentials of pods
        "169.254.0.23",  # Tencent
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "168.63.129.16",  # Azure's host, in a public range
        "fd00:ec2::254",
        "fd00:ec2::253",
        "fd00:ec2::23",
        "fd20:ce::254",  # Google Cloud
        "fd00:42::42",  # Scaleway
        "fe80::a9fe:a9fe",  # OpenStack
    )
)

_RANGES: tuple[tuple[str, tuple[Network, ...]], ...] = tuple(
    (reason, tuple(ipaddress.ip_network(text) for text in ranges.split()))
    for reason, ranges in (
        (LOOPBACK, "0.0.0.0/8 127.0.0.0/8 ::/127"),
        (LINK_LOCAL, "169.254.0.0/16 fe80::/10"),
        (PRIVATE, "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7 fec0::/10"),
        (
            RESERVED,
            (
                "192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.175.48.0/24 "
                "198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 "
                "64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001:db8::/32 3fff::/20 5f00::/16 ff00::/8"
            ),
        ),
    )
)
"""Ranges that are not public, by what they are. 0.0.0.0 and :: lead to the machine itself when connected to."""

_LOOPBACKS = (ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("::1/128"))

_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that has ever been handed out of IPv6's public space."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class Refused(Exception):
    """A name is not resolved. ``str()`` is a sentence for the author."""


def carried(address: Address) -> list[IPv4Address]:
    """Returns the IPv4 addresses that an IPv6 address carries: mapped, compatible, translated, NAT64, 6to4, Teredo,
    ISATAP. Whoever connects to it may end there."""
    if isinstance(address, IPv4Address):
        return []
    last = IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _COMPATIBLE:
        return [last] if int(address) > 1 else []
    if address in _MAPPED or address in _TRANSLATED or address in _NAT64:
        return [last]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return list(address.teredo)
    if (int(address) >> 32) & 0xFDFFFFFF == 0x00005EFE:
        return [last]
    return []


def effective(address: Address) -> Address:
    """Returns where a connection to an address ends: the IPv4 address it carries, else itself."""
    inner = carried(address)
    return inner[-1] if inner else address


def not_public(address: Address) -> str:
    """Returns what makes an address other than a public one, such as ``a loopback address``; empty for a public one.

    An IPv6 address that carries IPv4 addresses is as public as the least public of them.
    """
    inner = carried(address)
    if address in _METADATA:
        return METADATA
    if inner:
        return next((reason for reason in map(not_public, inner) if reason), "")
    for reason, networks in _RANGES:
        if any(address.version == network.version and address in network for network in networks):
            return reason
    in_use = isinstance(address, IPv4Address) or address in _UNICAST
    return "" if in_use and address.is_global else RESERVED


def plain_name(name: str) -> str:
    """Returns a host name as rules and pins know it: lower case, ASCII, without a final dot; empty when it is none."""
    try:
        text = name.strip().rstrip(".") if len(name) <= 254 else ""
        ascii_name = text if text.isascii() else text.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
    if not ascii_name or len(ascii_name) > 253 or any(not 33 <= ord(letter) < 127 for letter in ascii_name):
        return ""
    return ascii_name.lower()


def literal(text: str) -> Address | None:
    """Returns the address that a text is, also with brackets or a zone; None for a name."""
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return address


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of ``allow``: a network or a name (``*.domain`` for all names below one), perhaps with a port."""

    name: str
    networks: tuple[Network, ...]
    port: int | None

    @classmethod
    def parse(cls, entry: str) -> Rule:
        """Returns the rule of a host, ``*.domain``, address or CIDR, with or without ``:port``; ``[v6]:port``.

        Raises ``ValueError`` for a port that is none.
        """
        host, port = entry.strip(), ""
        if host.startswith("["):
            host, _, rest = host[1:].partition("]")
            port = rest.removeprefix(":")
        elif host.count(":") == 1:
            host, _, port = host.partition(":")
        number = int(port) if port else None
        try:
            return cls("", (_straight(ipaddress.ip_network(host, strict=False)),), number)
        except ValueError:
            name = host.rstrip(".").lower()
            return cls(name, _LOOPBACKS if name == "localhost" else (), number)

    def fits_port(self, port: int | None) -> bool:
        return self.port is None or not port or self.port == port

    def names(self, name: str) -> bool:
        """Whether the rule is about a name."""
        if self.name.startswith("*."):
            return name.endswith(self.name[1:]) and len(name) > len(self.name) - 1
        return bool(self.name) and name == self.name

    def holds(self, address: Address) -> bool:
        """Whether the rule is about an address, as ``effective`` gives it."""
        return any(address.version == network.version and address in network for network in self.networks)


def _straight(network: Network) -> Network:
    """Returns a network of mapped IPv4 addresses as the IPv4 network it is."""
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address in _MAPPED:
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


class Rules:
    """The network rules of one function.

    ``none`` reaches what ``allow`` names, ``public`` public addresses as well, ``open`` everything: loopback,
    private networks and metadata services too.
    """

    def __init__(self, network: str, allow: Iterable[str] = ()) -> None:
        self.network = network
        self.allow = tuple(Rule.parse(entry) for entry in allow)

    def refused_name(self, name: str, port: int | None = None) -> str:
        """Returns why a name may not be asked for; empty when it may. Nothing is asked about a name that is refused."""
        if self.network != "none" or any(rule.names(name) and rule.fits_port(port) for rule in self.allow):
            return ""
        return NOT_ALLOWED if self.allow else NO_NETWORK

    def refused(self, address: Address, port: int | None, names: Iterable[str] = ()) -> str:
        """Returns why an address may not be connected to; empty when it may.

        ``names`` are those that were asked for on behalf of this worker and gave the address.
        """
        known = tuple(names)
        if self.network == "open" or self.allowed(address, port, known):
            return ""
        kind = not_public(address)
        if self.network == "none" and not (kind and self._names(known, port)):
            return NOT_ALLOWED if self.allow else NO_NETWORK
        return kind

    def allowed(self, address: Address, port: int | None, names: Iterable[str] = ()) -> bool:
        """Whether ``allow`` names the address, or a name that gave it.

        Through a name only public and private addresses are reached: who runs the name server of an allowed host
        must not be able to point it at this machine or at the metadata of its cloud.
        """
        ends = effective(address)
        if any(rule.fits_port(port) and rule.holds(ends) for rule in self.allow):
            return True
        return not_public(address) in ("", PRIVATE) and self._names(names, port)

    def _names(self, names: Iterable[str], port: int | None) -> bool:
        known = tuple(names)
        return any(rule.fits_port(port) and rule.names(name) for rule in self.allow for name in known)


class Pins:
    """Which names gave an address, of one worker: the newest 1024 addresses, the newest eight names each.

    An address counts as a named host only if this worker asked for that name, here: a name that leads elsewhere
    the next time it is asked for (rebinding) changes nothing about the address that is checked.
    """

    MOST = 1024
    NAMES = 8

    def __init__(self) -> None:
        self._names: OrderedDict[Address, dict[str, None]] = OrderedDict()

    def add(self, name: str, addresses: Iterable[Address]) -> None:
        """Notes that a name gave these addresses."""
        for address in addresses:
            names = self._names.setdefault(address, {})
            names.pop(name, None)
            names[name] = None
            if len(names) > self.NAMES:
                del names[next(iter(names))]
            self._names.move_to_end(address)
        while len(self._names) > self.MOST:
            self._names.popitem(last=False)

    def names(self, address: Address) -> tuple[str, ...]:
        """Returns the names that gave an address, the newest last."""
        return tuple(self._names.get(address, ()))
