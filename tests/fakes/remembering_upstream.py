"""A fake upstream that keeps a library: it remembers images, briefs and classes by signature.

For what needs a library and no retrieval: a search finds the very image first, then the others with
lower scores. It can be slow, keep a quota a second, and counts what it was asked.
"""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from PIL import Image

from tests.fakes.upstream import FakeUpstream, Received, error

_EXISTS, _MISSING, _UNREADABLE, _TOO_FAST = 216681, 216680, 216201, 18


@dataclass
class Stored:
    """What is kept of one image."""

    brief: str
    classes: dict[str, str] = field(default_factory=dict)


class RememberingUpstream(FakeUpstream):
    """The upstream with a memory. ``asked`` counts the calls by method."""

    def __init__(self, *, delay_s: float = 0.0, quota_qps: int = 0) -> None:
        super().__init__()
        self.stored: dict[str, Stored] = {}
        self.created: Counter[str] = Counter()
        """How often each signature was stored anew."""
        self.asked: Counter[str] = Counter()
        self.delay_s = delay_s
        self._quota_qps = quota_qps
        self._starts: deque[float] = deque()
        self._keeps = threading.Lock()

    def answer(self, request: Received) -> Any:
        """Carry a call out; scripts of the test come first."""
        scripted = self._scripts[request.method] or self._always.get(request.method)
        if request.method == "token" or scripted:
            return super().answer(request)
        if self.delay_s:
            time.sleep(self.delay_s)
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        with self._keeps:
            self.asked[request.method] += 1
            if self._too_fast():
                return error(_TOO_FAST, "Open api qps request limit reached")
            done: dict[str, Any] = getattr(self, f"_{request.method}")(form)
            return {"log_id": sum(self.asked.values()), **done}

    def _too_fast(self) -> bool:
        now = time.monotonic()
        while self._starts and now - self._starts[0] > 1:
            self._starts.popleft()
        self._starts.append(now)
        return bool(self._quota_qps) and len(self._starts) > self._quota_qps

    def _add(self, form: dict[str, str]) -> dict[str, Any]:
        sign = _sign(form)
        if sign is None:
            return error(_UNREADABLE, "image format error")
        if sign in self.stored:
            return error(_EXISTS, "item has existed", cont_sign=sign)
        self.stored[sign] = Stored(form["brief"], _classes(form))
        self.created[sign] += 1
        return {"cont_sign": sign}

    def _update(self, form: dict[str, str]) -> dict[str, Any]:
        stored = self.stored.get(form.get("cont_sign") or _sign(form) or "")
        if stored is None:
            return error(_MISSING, "item not exist")
        stored.brief = form.get("brief", stored.brief)
        stored.classes |= _classes(form)
        return {}

    def _delete(self, form: dict[str, str]) -> dict[str, Any]:
        signs = (form.get("cont_sign") or _sign(form) or "").split(";")
        if any(sign not in self.stored for sign in signs):
            return error(_MISSING, "item not exist")
        for sign in signs:
            del self.stored[sign]
        return {}

    def _search(self, form: dict[str, str]) -> dict[str, Any]:
        own = _sign(form)
        wanted = _classes(form)
        hits = [
            {"cont_sign": sign, "brief": stored.brief, "score": 1.0 if sign == own else 0.5}
            for sign, stored in self.stored.items()
            if wanted.items() <= stored.classes.items()
        ]
        hits.sort(key=lambda hit: -float(str(hit["score"])))
        start, count = int(form.get("pn", 0)), int(form.get("rn", 300))
        page = hits[start : start + count]
        return {"result": page, "result_num": len(page), "has_more": start + count < len(hits)}


def _classes(form: dict[str, str]) -> dict[str, str]:
    return {name: form[name] for name in ("class_id1", "class_id2") if name in form}


def _sign(form: dict[str, str]) -> str | None:
    """Return the signature of the image in a form; None if it cannot be decoded."""
    content = base64.b64decode(form["image"]) if "image" in form else form["url"].encode()
    if "image" in form:
        try:
            Image.open(io.BytesIO(content)).load()
        except Exception:  # noqa: BLE001 - whatever a decoder finds
            return None
    digest = hashlib.sha256(content).digest()
    return f"{int.from_bytes(digest[:4])},{int.from_bytes(digest[4:8])}"
