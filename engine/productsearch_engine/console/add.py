"""The page to add images: several files, one brief template, class ids for all of them.

Each file goes through the very add of the REST contract. Knows files and outcomes.
"""

from __future__ import annotations

import json
import re
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from starlette.responses import Response

from productsearch_engine.api import parameters
from productsearch_engine.api.error_mapping import api_error
from productsearch_engine.console import notice, pages, refusal
from productsearch_engine.console.card import is_broken_json
from productsearch_engine.console.fitting import fitted
from productsearch_engine.console.forms import File, Form
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.view import class_id, refused
from productsearch_engine.console.visit import Visit, number
from productsearch_engine.limits import BRIEF_BYTES_MAX
from productsearch_engine.store import signs

_NAME_MAX = 200
_PASSING = ("full", "busy", "unavailable", "embedding", "library", "fault")
"""Why a file was refused that has nothing wrong."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one file; ``refused`` is a key of ``refusal.told``, None if it was added."""

    name: str
    sign: str | None
    refused: str | None
    facts: Mapping[str, object] = field(default_factory=dict)
    """What was wrong with it, for the sentence."""
    is_scaled: bool = False
    """Whether it was brought inside the limits."""
    is_noted: bool = True
    """Whether the journal knows of it: else no undo does."""

    @property
    def is_own(self) -> bool:
        """Return whether it was refused for what the file is; else it may be sent again."""
        return self.refused not in _PASSING


class Add:
    """The page to add images."""

    def __init__(self, rooms: Rooms):
        self._rooms = rooms

    async def show(self, visit: Visit) -> Response:
        """Answer with the empty form."""
        return _page(visit, Form(fields=()), [])

    async def send(self, visit: Visit, form: Form) -> Response:
        """Add the files of a form, one after the other."""
        entered = {name: form.one(name) for name in ("class_id1", "class_id2")}
        wrong = refused(entered) if form.files else refused(entered) | {"image": "no_file"}
        if wrong:
            return _page(visit, form, [], wrong, 400)
        numbers = class_id(entered["class_id1"]), class_id(entered["class_id2"])
        change, outcomes = number(form.one("change")), []
        for file in form.files:
            outcome = await self._add(visit, file, form.one("brief"), *numbers)
            if outcome.refused is None:
                try:
                    change = await self._noted(visit, outcome, change)
                except Exception as error:  # noqa: BLE001 - the image is stored all the same
                    refusal.of(error)
                    outcome = replace(outcome, is_noted=False)
            outcomes.append(outcome)
        try:
            done = await notice.of_change(visit, self._rooms, change)
            visit = replace(await self._counted(visit), notice=done)
        except Exception as error:  # noqa: BLE001 - what was added is told all the same
            refusal.of(error)
        return notice.remembered(visit, _page(visit, form, outcomes), change)

    async def _noted(self, visit: Visit, outcome: Outcome, change: int | None) -> int | None:
        """Write an add down in the journal, as a part of the change that its files have made."""
        number = signs.from_text((outcome.sign or "").encode())
        if number is None:
            return change
        note = self._rooms.stores.journal.note_add
        noted = await self._rooms.in_thread(note, visit.library, number, visit.author, change)
        return change if noted is None else noted

    async def _counted(self, visit: Visit) -> Visit:
        """Return a visit with the library as it is now, its images counted again."""
        app = await self._rooms.in_thread(self._rooms.stores.libraries.app, visit.app_id)
        return replace(visit, library=app.library) if app and app.library else visit

    async def _add(
        self,
        visit: Visit,
        file: File,
        template: str,
        class_id1: int | None,
        class_id2: int | None,
    ) -> Outcome:
        path = re.split(r"[/\\]", file.name)[-1]
        name, brief = path[:_NAME_MAX], filled(template, path).encode()
        if len(brief) > BRIEF_BYTES_MAX:
            return Outcome(name=name, sign=None, refused="brief")
        try:
            image = await fitted(self._rooms, visit, file.content)
            wanted = parameters.Add(
                source=parameters.Source(image=image.encoded),
                brief=brief,
                class_id1=class_id1,
                class_id2=class_id2,
            )
            answer = await self._rooms.calls.answer(visit.app_id, wanted, None)
        except Refusal as refusing:
            return Outcome(name=name, sign=None, refused=refusing.key, facts=refusing.facts)
        except Exception as error:  # noqa: BLE001 - told beside the file, as a call would be
            failed = api_error(error, 10**17 + secrets.randbelow(10**17))
            key = refusal.of_api_error(failed).key
            return Outcome(name=name, sign=failed.cont_sign, refused=key)
        sign = str(answer["cont_sign"])
        return Outcome(name=name, sign=sign, refused=None, is_scaled=image.is_scaled)


def filled(template: str, name: str) -> str:
    """Return a brief: ``{name}`` stands for the file's name without its ending."""
    # Names from a Mac have letters and accents apart; nobody types them so.
    stem = unicodedata.normalize("NFC", name.rpartition(".")[0] or name)
    rest = template.replace("{name}", "")
    if rest.lstrip().startswith(("{", "[")) and not is_broken_json(rest):
        # Within a text of JSON a quote is written as two letters.
        stem = json.dumps(stem, ensure_ascii=False)[1:-1]
    return template.replace("\r\n", "\n").replace("{name}", stem)


def _page(
    visit: Visit,
    form: Form,
    outcomes: list[Outcome],
    wrong: Mapping[str, str] = MappingProxyType({}),
    status: int = 200,
) -> Response:
    return pages.page(
        visit,
        "add.html",
        status,
        section="add",
        outcomes=outcomes,
        wrong=wrong,
        entered={
            name: form.one(name, default)
            for name, default in (("brief", "{name}"), ("class_id1", ""), ("class_id2", ""))
        },
    )
