"""The ratios that hold steady on any machine, with wide margins; `make bench` has the bars."""

from __future__ import annotations

import statistics

import pytest

from benchmarks import clocks, crowd, encoder, facade, pictures, stage, transport
from productsearch_service.upstream import form

_ROUNDS = 3


def test_the_encoder_is_many_times_faster_than_requests() -> None:
    """At least eight times, for 300 KB, where the bar of 2.9 MB is 25."""
    assert encoder.ratio(pictures.of_size(pictures.SIZES["300 KB"]), _ROUNDS) >= 8


def test_the_encoder_holds_a_body_once() -> None:
    """No more than three times the body at its peak, where the bar is 2.2."""
    assert 1 <= encoder.peak(pictures.of_size(pictures.SIZES["2.9 MB"])) <= 3


def test_the_transport_costs_little_more_than_urllib3() -> None:
    """At most twice its CPU for 1 KB, where the bar is 1.45 and session.post takes three."""
    body = form.pieces({"image": pictures.of_size(pictures.SIZES["1 KB"])})
    with stage.upstream() as (url, bundle):
        values = transport.measure(url, bundle, body, _ROUNDS, calls_a_round=200)
    assert statistics.median(clocks.ratios(values["ours"], values["urllib3"])) <= 2


def test_the_facade_costs_little_more_than_its_floor() -> None:
    """At most 2.6 times the floor's CPU for an add of 300 KB, where the bar is 1.3."""
    size = pictures.SIZES["300 KB"]
    values = facade.measure("add", size, _ROUNDS, seconds=0.5)
    assert statistics.median(facade.over_floor(values)) <= 2.6


def test_a_curve_is_told_from_its_own_rounds() -> None:
    """A minute in which all is dearer, and one point that went wrong, do not bend a curve."""
    curve, slow, disturbed = [3.0, 2.0, 2.0, 2.0], [6.0, 4.0, 4.0, 4.0], [3.0, 2.0, 9.0, 2.0]
    assert crowd.most_over_least([curve, slow, disturbed]) == pytest.approx(1.5)
    assert crowd.most_over_least([[2.0, 2.0, 2.0, 2.5], slow, [2.0, 2.0, 2.0, 2.5]]) == (
        pytest.approx(1.25)
    )
