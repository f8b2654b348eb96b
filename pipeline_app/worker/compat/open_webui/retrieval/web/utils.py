"""Addresses of the web."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit


def validate_url(url: str | Sequence[str]) -> bool:
    """Returns that addresses are of the web and name no private host; False for none. Raises ``ValueError``.

    Where a function may really connect to is for its policy.
    """
    if not isinstance(url, str):
        return bool(url) and all(validate_url(one) for one in url)
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"{url!r} is no address of the web.")
    if host == "localhost" or _is_private(host):
        raise ValueError(f"{url!r} is a private address.")
    return True


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def safe_validate_urls(url: Sequence[str]) -> list[str]:
    """Returns those of some addresses that ``validate_url`` takes."""
    kept = []
    for one in url:
        try:
            if validate_url(one):
                kept.append(one)
        except ValueError:
            continue
    return kept
