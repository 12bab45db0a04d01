"""The fields of the form about a selection: which images, and what is to become of them.

Knows the fields. Does not know the images.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from productsearch_engine.console.briefs import Edit, Where
from productsearch_engine.console.forms import Form
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.view import brief, class_id
from productsearch_engine.limits import SELECTION_MAX
from productsearch_engine.store import signs

FIELDS = ("brief", "class_id1", "class_id2")
"""Each has a choice of what is done with it, ``<name>_do``."""

TEXTS = (*FIELDS, "where", "key", "value")
_LACKING = "lacking"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to become of the images."""

    brief: Edit
    numbers: Mapping[str, int | None] = field(default_factory=dict)
    """New class ids by their names, None to remove one."""


def selected(form: Form) -> list[int]:
    """Return the selected images. Raises Refusal."""
    chosen = [signs.from_text(text.encode()) for text in form.values("sign")]
    known = sorted({sign for sign in chosen if sign is not None})
    if not known:
        raise Refusal(400, "nothing_selected")
    if len(known) > SELECTION_MAX:
        raise Refusal(400, "selection")
    return known


def asked(form: Form) -> Asked:
    """Return what a form asks for. Raises Refusal."""
    doing = {name: form.one(f"{name}_do") for name in FIELDS}
    unused = [name for name in FIELDS if doing[name] not in ("set", "remove")]
    if doing["brief"] not in ("member", "without"):
        unused += ["key", "value"]
    known = {"set", "remove", "member", "without"}
    # A value beside "Leave" is told there.
    meant = next((name for name in unused if form.one(name).strip()), "")
    if meant or not {*doing.values()} & known:
        raise Refusal(400, "choice", field=meant)
    numbers: dict[str, int | None] = {}
    for name in ("class_id1", "class_id2"):
        if doing[name] == "set":
            number = class_id(form.one(name), lenient=True)
            if number is None:
                raise Refusal(400, "class_id", field=name)
            numbers[name] = number
        elif doing[name] == "remove":
            numbers[name] = None
    return Asked(brief=_edit(form, doing["brief"]), numbers=numbers)


def choice(*parts: str) -> str:
    """Return the value of a choice of briefs: by a text, or by a key and its value."""
    return json.dumps(parts)


def _edit(form: Form, doing: str) -> Edit:
    where, key = _where(form.one("where")), form.one("key")
    match doing:
        case "set":
            try:
                text = brief(form.one("brief")).decode()
            except Refusal as refused:
                raise Refusal(400, refused.key, field="brief") from None
            return Edit(doing="set", where=where, text=text)
        case "member" | "without":
            key = key or where.key or ""
            if not key:
                raise Refusal(400, "key", field="key")
            value = form.one("value").replace("\r\n", "\n")
            return Edit(
                doing="member" if doing == "member" else "without",
                where=where,
                key=key,
                value=value,
            )
        case _:
            return Edit(doing="keep")


def _where(text: str) -> Where:
    if text in ("", _LACKING):
        return Where(lacking=bool(text))
    try:
        parts = json.loads(text)
    except (ValueError, RecursionError):
        parts = None
    match parts:
        case [str(whole)]:
            return Where(text=whole)
        case [str(key), str(value)]:
            return Where(key=key, value=value)
        case _:
            raise Refusal(400, "form")
