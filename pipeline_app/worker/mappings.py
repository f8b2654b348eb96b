"""``mmap.mmap`` without a file, which asks for shared memory unless told otherwise: private memory in a worker.

Nobody could share it, since nothing is forked, and private memory is what the worker's limit counts. The kernel is
told to refuse the other kind (``seccomp.py``).
"""

from __future__ import annotations

import mmap
from typing import Any

_READ_AND_WRITE = mmap.PROT_READ | mmap.PROT_WRITE


class _Mapping(mmap.mmap):
    """``mmap.mmap`` with the same parameters."""

    def __new__(
        cls,
        fileno: int,
        length: int,
        flags: int = mmap.MAP_SHARED,
        prot: int = _READ_AND_WRITE,
        access: int = mmap.ACCESS_DEFAULT,
        *more: Any,
        **named: Any,
    ) -> _Mapping:
        if fileno == -1:
            if access != mmap.ACCESS_DEFAULT:
                flags, prot = 0, mmap.PROT_READ if access == mmap.ACCESS_READ else _READ_AND_WRITE
                access = mmap.ACCESS_DEFAULT
            flags = flags & ~mmap.MAP_SHARED | mmap.MAP_PRIVATE
        return super().__new__(cls, fileno, length, flags, prot, access, *more, **named)


_Mapping.__name__ = _Mapping.__qualname__ = "mmap"
_Mapping.__module__ = "mmap"


def install() -> None:
    """Puts it in the place of Python's own, for whoever imports that from now on."""
    mmap.mmap = _Mapping  # type: ignore[misc]
