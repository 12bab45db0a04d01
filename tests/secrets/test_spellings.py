"""An upstream that echoes a secret in other words: in a message, and in a brief."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import string
import time
from collections import deque
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from productsearch_service import redaction
from productsearch_service.redaction import (
    echo_secrets,
    echoes_secret,
    hides_secret,
    redact,
    register_secret,
)
from productsearch_service.upstream import answers
from productsearch_service.upstream.auth.credentials import KeyPair
from productsearch_service.upstream.masked import MaskedBytes

SECRET = "24.8c1f0d7e5ab94632aa10fe77c0b3d951.2592000.1790000000.123456-98765432"
WIDE = {ord(c): ord(c) + 0xFEE0 for c in string.printable if "!" <= c <= "~"}


def _unicode(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in text)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "escaped once more": _unicode,
    "escaped twice more": lambda text: json.dumps(_unicode(text))[1:-1],
    "hexadecimal escapes": lambda text: "".join(f"\\x{ord(c):02x}" for c in text),
    "entities": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "hexadecimal entities": lambda text: "".join(f"&#x{ord(c):x};" for c in text),
    "escaped entities": lambda text: html.escape("".join(f"&#{ord(c)};" for c in text)),
    "percent": lambda text: "".join(f"%{ord(c):02X}" for c in text),
    "percent twice": lambda text: "".join(f"%25{ord(c):02X}" for c in text),
    "spaced": " ".join,
    "dashed": "-".join,
    "on lines": "\n".join,
    "full width": lambda text: text.translate(WIDE),
    "full width, spaced": lambda text: " ".join(text.translate(WIDE)),
    "zero-width spaces": "\u200b".join,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, spaced": lambda text: " ".join(base64.b64encode(text.encode()).decode()),
}


@pytest.fixture(autouse=True, scope="module")
def known() -> None:
    """Register the secret, as its arrival does."""
    register_secret(SECRET)


def _told(message: str) -> str:
    body = json.dumps({"error_code": 424242, "error_msg": message}).encode()
    return answers.read(MaskedBytes(body)).words.message


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
@given(data=st.data())
def test_no_message_tells_a_piece(spell: Callable[[str], str], data: st.DataObject) -> None:
    """Any piece of 20 characters, between any words: nothing that can be read back is told."""
    start = data.draw(st.integers(0, len(SECRET) - 20))
    before, after = data.draw(
        st.tuples(st.sampled_from(["", "bad ", "token: "]), st.text(max_size=9))
    )
    told = _told(f"{before}{spell(SECRET[start : start + 20])} {after}")
    assert not hides_secret(told), told
    if "***" not in told:  # an encoding of its own, at an offset of its own, is masked as a run
        raise AssertionError(told)


@pytest.mark.parametrize(
    "message",
    [
        "image format error",
        "param brief not exist",
        "param 图片 not exist",
        "50 % of &amp; \\u00e9",
    ],
)
def test_other_messages_are_told_as_they_are(message: str) -> None:
    """What holds no secret is not masked."""
    assert message == _told(message)


@pytest.mark.parametrize("spell", [*SPELLINGS.values(), lambda text: f"?access_token={text}"])
def test_a_brief_that_echoes_the_token_is_masked(spell: Callable[[str], str]) -> None:
    """The others on its page are as they were, and so is one with a short piece."""
    briefs = ["a brief", f"before {spell(SECRET)} after", SECRET[:11], "图片"]
    rows = [{"cont_sign": "1,2", "score": 0.5, "brief": brief} for brief in briefs]
    body = json.dumps({"log_id": 1, "result": rows}).encode()
    page = answers.page(answers.read(MaskedBytes(body)))
    assert [briefs[0], "***", *briefs[2:]] == [hit.brief for hit in page.hits]


@pytest.fixture
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep what other tests need out, and bring it back."""
    monkeypatch.setattr(redaction, "_in_use", {})
    monkeypatch.setattr(redaction, "_former", deque(maxlen=redaction._FORMER_MAX))
    monkeypatch.setattr(redaction, "_spellings", ())
    yield
    redaction.redact_name.cache_clear()


def _secret(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


def test_what_is_in_use_is_known(nothing_known: None) -> None:
    """Of 200 libraries whose tokens come again and again: all pairs and the last tokens.

    What is kept does not grow with the tokens that come.
    """
    for library in range(200):
        KeyPair(_secret("key", library), _secret("half", library), f"/pairs/{library}")
    for generation in range(4):
        for library in range(200):
            register_secret(_secret("token", library, generation), f"library {library}: token")
    for library in range(200):
        for secret in ("key", library), ("half", library), ("token", library, 3):
            assert "***" == redact(_secret(*secret)), secret
    assert hides_secret(_secret("half", 0))
    assert echoes_secret(f"a brief with {_secret('key', 199)}")
    assert hides_secret(_secret("token", 199, 2)), "one that has just been in use"
    assert not hides_secret(_secret("token", 0, 1))
    assert 600 + redaction._FORMER_MAX == len(redaction._in_use) + len(redaction._former)


def test_a_pair_that_comes_takes_the_place_of_one(nothing_known: None) -> None:
    """The files of a library are read again and again: known once, and the one before, too."""
    for generation in (0, 0, 1, 1):
        KeyPair(_secret("key", generation), _secret("half", generation), "/pairs/shoes")
    assert 2 == len(redaction._in_use)
    assert [_secret("key", 0), _secret("half", 0)] == [*redaction._former]


@given(scores=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_scores_are_0_to_1_and_rows_as_many_as_asked(scores: list[float]) -> None:
    """Whatever numbers the upstream gives, and however many rows: the best ones, clipped."""
    rows = [{"cont_sign": f"{n},2", "score": score} for n, score in enumerate(scores)]
    body = json.dumps({"log_id": 1, "result": rows}).encode()
    page = answers.page(answers.read(MaskedBytes(body)), 5)
    expected = sorted((min(max(score, 0.0), 1.0) for score in scores), reverse=True)[:5]
    assert expected == [hit.score for hit in page.hits]


@given(st.text(max_size=200))
def test_any_text_is_looked_through(text: str) -> None:
    """Entities without an end, lone surrogates, anything: no exception."""
    assert not hides_secret(text)
    assert not hides_secret(text + "&#" + "\ud800" + "\\u00")


@pytest.mark.parametrize(
    ("text", "is_hidden"),
    [
        ("\\" * 900_000, False),
        ("\\u" + "\\" * 900_000, True),
        ("&a;" * 300_000, True),
        ("&#" + "1" * 5_000 + ";", True),
    ],
)
def test_text_that_is_long_to_read_is_not_read(text: str, is_hidden: bool) -> None:
    """A row of backslashes costs its length, and what is too long for a brief is masked."""
    assert is_hidden == echoes_secret(text)


def test_a_long_row_of_backslashes_in_a_message_costs_its_length() -> None:
    """Read backwards from each one it would take minutes."""
    assert not hides_secret("\\" * 300_000)


ACCENTS = "\u0300\u0316" * 64
LIGATURE = "\ufdfa" * 85


@pytest.mark.parametrize("brief", [ACCENTS, ACCENTS[:-6] + "%41", LIGATURE, LIGATURE[:-3] + "%41"])
def test_a_page_of_accents_costs_its_length(brief: str) -> None:
    """Any caller may store such briefs. Sorted all together they would take seconds of a search."""
    rows = [{"cont_sign": "1,2", "score": 0.5, "brief": brief}] * 600
    body = MaskedBytes(json.dumps({"log_id": 1, "result": rows}).encode())
    began_s = time.process_time()
    page = answers.page(answers.read(body))
    assert time.process_time() - began_s < 1
    assert {brief} == {hit.brief for hit in page.hits}


@given(data=st.data())
def test_any_twelve_characters_are_found(data: st.DataObject) -> None:
    """Wherever the piece stands, and in whatever words."""
    letters = "".join(c for c in SECRET if c.isalnum())
    start = data.draw(st.integers(0, len(letters) - 12))
    before, after = data.draw(st.tuples(st.text("xyz-", max_size=40), st.text("xyz-", max_size=40)))
    text = f"{before}{letters[start : start + 12]}{after}"
    assert hides_secret(text)
    assert echoes_secret(text)
    assert echo_secrets(["a brief", text, "another"])


@given(
    st.lists(st.text("\u0301\u0316&;%u\\14aA\uff21", max_size=12), max_size=6), st.integers(0, 6)
)
def test_what_one_echoes_all_together_echo(briefs: list[str], place: int) -> None:
    """A page is read in one go; what is found brief by brief is not missed."""
    briefs.insert(min(place, len(briefs)), SPELLINGS["percent twice"](SECRET[:20]))
    assert echo_secrets(briefs)
    briefs.pop(min(place, len(briefs) - 1))
    assert echo_secrets(briefs) or not any(map(echoes_secret, briefs))


def test_accents_between_letters_hide_nothing() -> None:
    """A letter and an accent may be one character; it spells the letter all the same."""
    assert hides_secret("\u0307".join(SECRET[3:35]))
