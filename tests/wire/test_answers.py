"""What the upstream answers, quirks and rubbish included, read into typed values."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productsearch import v1
from productsearch_service.errors import UpstreamProtocol
from productsearch_service.upstream import answers, codes
from productsearch_service.upstream.answers import Hit
from productsearch_service.upstream.masked import MaskedBytes
from tests.fakes.upstream import FakeUpstream, search_answer
from tests.pictures import jpeg

MUTATIONS = 20_000
SEED = 20261122
SEARCH = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))


def _read(members: Any) -> answers.Answer:
    return answers.read(MaskedBytes(json.dumps(members).encode()))


@pytest.mark.parametrize(
    ("log_id", "expected"),
    [(2**63 - 1, 2**63 - 1), ("1234567890123456789", 1234567890123456789), (None, 0), ("x", 0),
     (-1, 0), (1.5, 0), (True, 0), ("9" * 30, 0), (2**64, 0)],
)  # fmt: skip
def test_log_id_is_a_number_a_string_or_nothing(log_id: object, expected: int) -> None:
    """Numbers and strings of digits are read into 64 bits; anything else is 0."""
    assert expected == _read({"log_id": log_id}).words.log_id


@pytest.mark.parametrize(
    ("has_more", "more"),
    [(True, True), ("true", True), ("True", True), (False, False), ("false", False)],
)
def test_has_more_is_a_boolean_or_a_string(
    has_more: object, more: bool, stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """Both spellings decide whether there is a next page; a short page decides nothing."""
    upstream.then("search", search_answer(("1,2", 0.5, "b"), has_more=has_more))
    assert more == bool(stub.SearchImages(SEARCH).next_page_token)


def test_without_has_more_the_first_empty_page_is_the_last(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """Old manuals have no has_more: pages are asked for until one is empty."""
    upstream.then("search", search_answer(("1,2", 0.5, "b"), has_more=None))
    upstream.then("search", search_answer(has_more=None))
    first = stub.SearchImages(SEARCH)
    second = v1.SearchImagesRequest(page_token=first.next_page_token)
    second.MergeFrom(SEARCH)
    assert first.next_page_token
    assert "" == stub.SearchImages(second).next_page_token
    assert b"&pn=300&rn=300" in upstream.calls[1].body


def test_an_unsorted_page_is_sorted(stub: v1.ProductSearchStub, upstream: FakeUpstream) -> None:
    """Results are best first, whatever order they arrived in; log_id keeps all 64 bits."""
    hits = [("1,1", 0.2, "c"), ("2,2", 0.9, "a"), ("3,3", 0.5, "b")]
    upstream.then("search", search_answer(*hits, log_id="9223372036854775807"))
    response = stub.SearchImages(SEARCH)
    assert ["a", "b", "c"] == [result.brief for result in response.results]
    assert 9223372036854775807 == response.log_id


def test_min_score_leaves_out_and_ends(stub: v1.ProductSearchStub, upstream: FakeUpstream) -> None:
    """Results below min_score are left out; a page without any other ends the search."""
    request = v1.SearchImagesRequest(min_score=0.4)
    request.MergeFrom(SEARCH)
    upstream.then("search", search_answer(("1,1", 0.4, "a"), ("2,2", 0.3, "b"), has_more=True))
    upstream.then("search", search_answer(("3,3", 0.39, "c"), has_more=True))
    first = stub.SearchImages(request)
    assert (["a"], True) == ([hit.brief for hit in first.results], bool(first.next_page_token))
    request.page_token = first.next_page_token
    second = stub.SearchImages(request)
    assert ([], "") == ([*second.results], second.next_page_token)


def test_brief_comes_back_byte_for_byte(stub: v1.ProductSearchStub, upstream: FakeUpstream) -> None:
    """Chinese, emoji, NUL and JSON in brief survive; a lone surrogate becomes a question mark."""
    brief = '{"名": "苹果 😀"}\x00\t'
    upstream.then("search", search_answer(("1,1", 0.4, brief), ("2,2", 0.3, "x\ud800y")))
    assert [brief, "x?y"] == [hit.brief for hit in stub.SearchImages(SEARCH).results]


def _mutated(chance: random.Random, seeds: list[bytes]) -> bytes:
    body = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(body) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            body[at:at] = chance.randbytes(chance.randint(1, 4))
        elif kind == 1:
            del body[at : at + chance.randint(1, 20)]
        elif kind == 2:
            body[at:at] = body[: chance.randint(0, 60)]
        else:
            body[at : at + 1] = chance.choice([b'"', b"{", b"[", b"-", b"9e999", b"null", b"\\u"])
    return bytes(body)


def test_mutated_bodies_are_read_or_refused() -> None:
    """Mutated answers give an answer, a page or an UpstreamProtocol: nothing else, ever."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    hits = [("1,2", 0.5, "b"), ("3,4", 0.25, "苹果")]
    seeds = [
        json.dumps(search_answer(*hits)).encode(),
        json.dumps({"log_id": "123", "cont_sign": "1,2"}).encode(),
        json.dumps({"error_code": 216681, "error_msg": "x", "cont_sign": "1,2"}).encode(),
    ]
    outcomes = {"answer": 0, "refused": 0}
    for _ in range(MUTATIONS):
        body = _mutated(chance, seeds)
        try:
            answer = answers.read(MaskedBytes(body))
            if answer.failed:
                codes.error_of(answer.words)
            else:
                for hit in answers.page(answer).hits:
                    assert isinstance(hit, Hit)
                    hit.brief.encode()
            outcomes["answer"] += 1
        except UpstreamProtocol:
            outcomes["refused"] += 1
    print(outcomes)
    assert min(outcomes.values()) > MUTATIONS / 100


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
members = st.dictionaries(
    st.sampled_from(["log_id", "error_code", "error_msg", "result", "has_more", "cont_sign"]),
    json_values,
)


@settings(max_examples=200)
@given(members)
def test_any_json_in_any_member_is_read_or_refused(answer_members: dict[str, Any]) -> None:
    """Whatever JSON stands in the known members: an answer or an UpstreamProtocol."""
    try:
        answer = _read(answer_members)
        answers.page(answer)
    except UpstreamProtocol:
        pass


@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        ('{"log_id": 1, "result": [' + ",".join(["{}"] * 30_000) + "]}", False),
        ('{"log_id": 1, "result": [' + ",".join(["0"] * 30_000) + "]}", False),
        ('{"log_id": 1, "result": [], "said": "' + "{" * 100_000 + '"}', True),
        ('{"log_id": 1, "result": [], "said": "' + '\\"{' * 50_000 + '"}', True),
    ],
    ids=["objects", "numbers", "in a string", "in a string with quotes"],
)
def test_an_answer_of_too_many_parts_is_not_read(text: str, is_read: bool) -> None:
    """They would take a hundred times their length in memory, and seconds of everyone's time."""
    if is_read:
        assert 1 == answers.read(MaskedBytes(text.encode())).words.log_id
        return
    with pytest.raises(UpstreamProtocol):
        answers.read(MaskedBytes(text.encode()))


@pytest.mark.parametrize(
    "quotes",
    [
        b'"' + b'\\"' * 20_000,
        b'"' + b'\\"' * 20_000 + b"\\",
        b'"\\u' + b'\\"' * 20_000,
        b'"' * 40_001,
    ],
    ids=["escaped", "and a backslash", "and letters", "plain"],
)
def test_a_string_without_an_end_costs_its_length(quotes: bytes) -> None:
    """Begun anew at each quote, 60 KB of them would keep the event loop for seconds."""
    began_s = time.process_time()
    with pytest.raises(UpstreamProtocol):
        answers.read(MaskedBytes(b'{"result":[' + b"," * 20_001 + quotes))
    assert time.process_time() - began_s < 1


def test_a_brief_that_nobody_can_have_stored_is_cut() -> None:
    """Briefs have 256 bytes; what is longer is the upstream's own, and reading it costs time."""
    brief = "m" * 256
    rows = [{"cont_sign": "1,2", "score": 0.5, "brief": each} for each in (brief, "m" * 100_000)]
    page = answers.page(_read({"log_id": 1, "result": rows}))
    assert [brief, "m" * 1024] == [hit.brief for hit in page.hits]
