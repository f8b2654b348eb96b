"""A database for tables of a function's own: a SQLite file of this worker's, which goes with it.

The server's tables are not in it; ``open_webui.models`` asks for what is in those.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import MetaData, Text, create_engine
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session, sessionmaker
from sqlalchemy.types import TypeDecorator

from .._folders import DATA_DIR

DATABASE_SCHEMA = None
SQLALCHEMY_DATABASE_URL = f"sqlite:///{DATA_DIR}/functions.db"

engine = create_engine(SQLALCHEMY_DATABASE_URL, connect_args={"check_same_thread": False})
SessionLocal = sessionmaker(autocommit=False, autoflush=False, bind=engine, expire_on_commit=False)
ScopedSession = scoped_session(SessionLocal)
metadata_obj = MetaData(schema=DATABASE_SCHEMA)


class Base(DeclarativeBase):
    """What tables of a function's own are made from."""

    metadata = metadata_obj


class JSONField(TypeDecorator[Any]):
    """JSON, kept as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str:
        return json.dumps(value)

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else json.loads(value)


def get_session() -> Iterator[Session]:
    """Yields a session, and closes it."""
    session = SessionLocal()
    try:
        yield session
    finally:
        session.close()


get_db = contextmanager(get_session)


class _Later:
    """A session for code that awaits it; the file is at hand, so nothing waits long."""

    def __init__(self, session: Session) -> None:
        self.sync_session = session

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.sync_session, name)
        if name not in (
            "execute",
            "scalar",
            "scalars",
            "get",
            "commit",
            "rollback",
            "flush",
            "refresh",
            "delete",
            "close",
        ):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            return found(*args, **kwargs)

        return call


@asynccontextmanager
async def get_async_db() -> AsyncIterator[Any]:
    """Opens a session that is awaited, and closes it."""
    with get_db() as session:
        yield _Later(session)


@asynccontextmanager
async def get_async_db_context(db: Any = None) -> AsyncIterator[Any]:
    """Opens a session that is awaited, unless there is one."""
    if db is not None:
        yield db
        return
    async with get_async_db() as session:
        yield session


async def get_async_session() -> AsyncIterator[Any]:
    """Yields a session that is awaited, and closes it."""
    async with get_async_db() as session:
        yield session


AsyncSessionLocal = get_async_db
