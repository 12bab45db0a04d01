"""What the console's pages work with: the calls, the workers, the stores, the threads.

Holds them and decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

from productsearch_engine.api.app import Api
from productsearch_engine.api.calls import Calls
from productsearch_engine.store.app_keys import AppKeys
from productsearch_engine.store.class_changes import ClassChanges
from productsearch_engine.store.details import Details
from productsearch_engine.store.dismissals import Dismissals
from productsearch_engine.store.ended_sessions import EndedSessions
from productsearch_engine.store.gallery import Gallery
from productsearch_engine.store.images import Images
from productsearch_engine.store.journal import Journal
from productsearch_engine.store.libraries import Libraries
from productsearch_engine.store.overview import Overviews
from productsearch_engine.store.pins import Pins
from productsearch_engine.store.queries import Queries
from productsearch_engine.store.reembeddings import Reembeddings
from productsearch_engine.store.renewals import Renewals
from productsearch_engine.store.second_search import SecondSearch
from productsearch_engine.store.users import Users
from productsearch_engine.workers.pool import Workers

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Stores:
    """The tables by what they are for."""

    libraries: Libraries
    keys: AppKeys
    images: Images
    gallery: Gallery
    journal: Journal
    details: Details
    users: Users
    ended_sessions: EndedSessions
    queries: Queries
    pins: Pins
    class_changes: ClassChanges
    dismissals: Dismissals
    renewals: Renewals
    overviews: Overviews
    reembeddings: Reembeddings
    second_search: SecondSearch


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """The other rooms of the engine that pages need."""

    api: Api
    calls: Calls
    workers: Workers
    threads: Executor
    stores: Stores

    async def in_thread(
        self,
        function: Callable[_Arguments, _Result],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Result:
        """Run what asks the database in a thread."""
        work = partial(function, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)
