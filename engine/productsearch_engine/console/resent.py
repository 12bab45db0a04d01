"""What a form had that could not be taken: given back in the answer's page, to be sent again.

Of files only the names are kept, of passwords nothing, and nothing of a form that is long. Knows
forms and refusals. Does not know what any form is for.
"""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from productsearch_engine.console import forms, language, origin, pages
from productsearch_engine.console.attempts import Places, counted_as
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.visit import Visit, address, address_of, here
from productsearch_engine.limits import RESENT_AT_ONCE, RESENT_BYTES_MAX, RESENT_OF_ADDRESS

_WAIT = (429, 500, 503)
"""Statuses of what may succeed if it is sent again."""
_HIDDEN = ("password",)


class Resent:
    """The pages about forms that were not taken."""

    def __init__(self, threads: Executor):
        self._threads = threads
        self._places = Places(RESENT_AT_ONCE, RESENT_OF_ADDRESS)

    async def signed_out(self, request: Request) -> Response:
        """Answer a form of who is not signed in: with what it has, to be sent again after that.

        Its token stays right for the same person.
        """
        form = await self._read(request)
        values = {
            "action": address(request),
            "fields": form.fields,
            "files": [file.name for file in form.files],
        }
        spoken = language.of_request(request)
        return pages.plain(request, spoken, "signed_out.html", 401, values)

    async def refused(self, request: Request, refused: Refusal) -> Response:
        """Answer with what was refused; who is known to have signed in stays so."""
        visit: Visit | None = getattr(request.state, "visit", None)
        form = forms.Form(fields=())
        if request.method == "POST":
            form = getattr(request.state, "form", None) or form
            if not form.fields and refused.status in _WAIT:
                form = await self._read(request)
            form = kept(form)
        values = {
            "key": refused.key,
            "code": refused.status,
            "fields": form.fields,
            "files": [file.name for file in form.files],
            "again": address(request) if form.fields and refused.status in _WAIT else "",
            # The page with the form, where what was wrong can be put right.
            "back": here(request) if request.method == "POST" else refused.facts.get("back", ""),
        }
        if visit is not None:
            return pages.page(visit, "error.html", refused.status, **values)
        spoken = language.of_request(request)
        return pages.plain(request, spoken, "error.html", refused.status, values)

    async def _read(self, request: Request) -> forms.Form:
        """Return what a form has that nobody has read yet; nothing of one that cannot be read."""
        form = forms.Form(fields=())
        if not origin.comes_from_here(request):
            return form
        with self._places.take(counted_as(address_of(request))) as has_place:
            if has_place:
                # Also one whose body was read in part: the page tells of something else.
                with suppress(Exception):
                    form = await forms.without_files(request, self._threads, RESENT_BYTES_MAX)
        return kept(form)


def kept(form: forms.Form) -> forms.Form:
    """Return what may be given back of a form."""
    fields = [(name, value) for name, value in form.fields if name not in _HIDDEN]
    if sum(len(name) + len(value) for name, value in fields) > RESENT_BYTES_MAX:
        fields = []
    return forms.Form(fields=fields, files=form.files)
