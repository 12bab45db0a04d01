"""The calls that each SDK makes, and what comes of each: one list for all languages."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.engine.image_files import draw, encoded, jpeg

BRIEF: Final = '{"name":"苹果 ü","id":"1&2=3+4%25"}'
_Check = Callable[[dict[str, Any], "Told"], bool]


@dataclass
class Told:
    """What earlier steps were told: signs by their image."""

    signs: dict[int, str] = field(default_factory=dict)
    site: str = ""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call. ``text`` is filled in from what was told: ``{1}`` is the sign of image 1."""

    call: str
    image: bytes | None = None
    text: str = ""
    brief: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    code: int = 0
    check: _Check = lambda _answer, _told: True
    keep: int | None = None
    """The image whose sign the answer gives."""

    def asked(self, told: Told) -> dict[str, Any]:
        """Return the call as a runner takes it."""
        asked: dict[str, Any] = {"call": self.call, "options": self.options}
        if self.image is not None:
            asked["image"] = base64.b64encode(self.image).decode()
        else:
            asked["text"] = self.text.format(
                site=told.site, **{f"s{image}": sign for image, sign in told.signs.items()}
            )
        if self.brief is not None:
            asked["brief"] = self.brief
        return asked


def briefs(*expected: str) -> _Check:
    """Check the briefs of a search, in any order."""
    return lambda answer, _: sorted(expected) == sorted(hit["brief"] for hit in answer["result"])


def _classes(first: int, second: int) -> dict[str, str]:
    return {"class_id1": str(first), "class_id2": str(second)}


def _first_is(image: int) -> _Check:
    def check(answer: dict[str, Any], told: Told) -> bool:
        best = answer["result"][0]
        return best["cont_sign"] == told.signs[image] and abs(best["score"] - 1) < 1e-3

    return check


STEPS: Final = (
    Step(call="productSearch", image=jpeg(1), check=lambda answer, _: answer["result_num"] == 0),
    Step(call="productAdd", image=jpeg(1), brief="one", options=_classes(1, 1), keep=1),
    Step(
        call="productAdd",
        image=jpeg(1),
        brief="again",
        code=216681,
        check=lambda answer, told: answer["cont_sign"] == told.signs[1],
    ),
    Step(call="productAdd", image=jpeg(2), brief="two", options=_classes(1, 2), keep=2),
    Step(call="productAdd", image=jpeg(3), brief=BRIEF, options=_classes(2, 2), keep=3),
    Step(call="productAddUrl", text="{site}/4", brief="four", options=_classes(9, 9), keep=4),
    Step(call="productAddUrl", text="{site}/4", brief="four", code=216681),
    Step(call="productSearch", image=jpeg(1), check=_first_is(1)),
    Step(call="productSearch", image=jpeg(1), check=briefs("one", "two", BRIEF, "four")),
    Step(
        call="productSearch",
        image=jpeg(1),
        options={"class_id1": "1"},
        check=briefs("one", "two"),
    ),
    Step(call="productSearch", image=jpeg(1), options=_classes(1, 2), check=briefs("two")),
    Step(
        call="productSearch",
        image=jpeg(1),
        options=_classes(1, 2) | {"tag_logic": "1"},
        check=briefs("one", "two", BRIEF),
    ),
    Step(
        call="productSearch",
        image=jpeg(1),
        options={"pn": "1", "rn": "2"},
        check=lambda answer, _: answer["result_num"] == 2 and answer["has_more"] is True,
    ),
    Step(call="productSearch", image=jpeg(1), options={"pn": "1000"}, check=briefs()),
    Step(call="productSearch", image=jpeg(1), options={"rn": "0"}, code=216100),
    Step(call="productSearch", image=jpeg(1), options={"class_id1": "0"}, code=216100),
    Step(call="productSearch", image=jpeg(1, (299, 400)), code=216202),
    Step(call="productSearch", image=encoded(draw(1), "GIF"), code=216201),
    Step(call="productSearch", image=b"", code=216200),
    Step(call="productSearchUrl", text="{site}/4", check=_first_is(4)),
    Step(call="productSearchUrl", text="{site}/none", code=282113),
    Step(call="productSearchUrl", text="ftp://a.example/x", code=282111),
    Step(call="productUpdate", image=jpeg(2), options={"brief": "new", "class_id1": "7"}),
    Step(call="productSearch", image=jpeg(2), options={"class_id1": "7"}, check=briefs("new")),
    Step(call="productUpdateUrl", text="{site}/4", options={"brief": "by url"}),
    Step(call="productUpdateContSign", text="{s1}", options={"brief": "by sign"}),
    Step(call="productUpdateContSign", text="no sign", options={"brief": "x"}, code=216100),
    Step(call="productUpdate", image=jpeg(9), options={"brief": "x"}, code=216680),
    Step(
        call="productSearch",
        image=jpeg(1),
        check=briefs("by sign", "new", BRIEF, "by url"),
    ),
    Step(call="productDeleteByImage", image=jpeg(3)),
    Step(call="productDeleteByUrl", text="{site}/4"),
    Step(call="productDeleteBySign", text="{s1};{s2}"),
    Step(call="productDeleteBySign", text="{s1}", code=216680),
)
