"""Libraries with people who may look at them or edit them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from argon2 import PasswordHasher
from psycopg_pool import ConnectionPool

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.database.pool import open_pool
from productsearch_engine.embedding.classic import Classic
from productsearch_engine.store.libraries import Libraries
from productsearch_engine.store.users import Users
from tests.console.person import Person
from tests.engine.calling import Caller
from tests.engine.databases import given

PASSWORD = "correct horse battery"

_numbers = itertools.count(1)
# Cheaper than the engine's own: a check takes what the hash says.
_HASH = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A library with its caller, an editor and somebody who may only look."""

    name: str
    caller: Caller
    editor: Person
    looker: Person
    looker_name: str

    @property
    def keys(self) -> tuple[str, str]:
        """API key and secret key."""
        return self.caller.api_key, self.caller.secret_key

    def add(self, image: bytes, brief: str = "b", **fields: str) -> str:
        """Add an image by a call and return its ``cont_sign``."""
        for _ in range(3):
            answer = self.caller.call("add", image=image, brief=brief, **fields)
            if "cont_sign" in answer:
                return str(answer["cont_sign"])
            assert 2 == answer["error_code"], answer  # a busy machine: callers try again
        raise AssertionError(answer)

    def close(self) -> None:
        """Close the connections of its people."""
        for each in (self.caller, self.editor, self.looker):
            each.close()


@pytest.fixture(scope="session")
def pool(engine: Engine) -> Iterator[ConnectionPool[Any]]:
    """Connections to the engine's database, as the engine itself has them."""
    with open_pool(settings.load(given(), {"data": str(engine.data)}), 4) as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_shop(engine: Engine, pool: ConnectionPool[Any]) -> Iterator[Shop]:
    """A library that tests share: for what is refused."""
    made = made_shop(engine, pool)
    yield made
    made.close()


@pytest.fixture
def new_shop(engine: Engine, pool: ConnectionPool[Any]) -> Iterator[Callable[..., Shop]]:
    """Makes a library with its people; takes its capacity."""
    made: list[Shop] = []

    def make(capacity: int = 500_000) -> Shop:
        made.append(made_shop(engine, pool, capacity))
        return made[-1]

    yield make
    for shop in made:
        shop.close()


@pytest.fixture
def shop(new_shop: Callable[..., Shop]) -> Shop:
    """A library of the test's own."""
    return new_shop()


def made_shop(engine: Engine, pool: ConnectionPool[Any], capacity: int = 500_000) -> Shop:
    """Make a library with its people; whoever made it closes it."""
    number = next(_numbers)
    name = f"shop-{number}"
    # What ``library create`` and ``user add`` do, without starting Python for every test.
    keys = Libraries(pool).create(
        name, capacity=capacity, embedding=Classic.name, dimensions=Classic.dimensions, api_key=None
    )
    people = []
    for role in ("edit", "look"):
        user = f"{role}-{number}"
        Users(pool).add(user, library=name, role=role, password_hash=_HASH)  # type: ignore[arg-type]
        people.append(Person(engine.url))
        assert 303 == people[-1].sign_in(user, PASSWORD).status_code
    assert keys.secret_key
    caller = Caller(engine.url, keys.api_key, keys.secret_key)
    editor, looker = people
    return Shop(
        name=name, caller=caller, editor=editor, looker=looker, looker_name=f"look-{number}"
    )
