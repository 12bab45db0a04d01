"""Addresses of images, as callers and hosts write them: read by their grammar, or refused."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
from hypothesis import example, given, seed
from hypothesis import strategies as st

from productsearch_engine.images import web_address
from productsearch_engine.images.download import Downloader
from productsearch_engine.images.errors import ImageError, UrlIllegalError, UrlRefusedError

# What means something in a URL, far more often than chance would have it.
_pieces = st.sampled_from(
    ["http://", "https://", "HTTP:", "//", "/", "\\", ":", "@", "?", "#", "[", "]", "[::1]",
     "[v1.x]", "a", "A-", "..", ".", "%", "%00", "%zz", "xn--", "xn--a", "ü", "ß", "\u200d",
     "\u3002", "\uff11", "\0", "\n", "\t", " ", "\x7f", "80", "65536", "0", "-1", "x" * 64,
     "localhost", "127.1", "0x7f.1", "::ffff:1.2.3.4", "fe80::1%25eth0", "\U0001f600"]
)  # fmt: skip
urls = st.lists(_pieces | st.text(max_size=3), max_size=10).map("".join)
_downloader = Downloader(allow_private=False)
hosts = st.lists(_pieces | st.text(max_size=3), min_size=1, max_size=6).map("".join)


@pytest.mark.parametrize(
    "url",
    [
        "http://a..b/x", "http://.a/", "http://a/".replace("a", "a" * 64), "http://[x", "http://[x]/",
        "http://[::1", "http://]/", "http://-a/", "http://a-/", "http:///x", "http://", "//a/", "",
        "http://a b/", "http://a/ b", "http://a\0/", "http://u@a/", "http://u:p@a/", "http://a:0/",
        "http://a:65536/", "http://a:x/", "ftp://a/", "file:///etc/passwd", "http://a,b/",
        "http://a%2fb/", "http://[fe80::1%25eth0", "http://xn--\u200d/", "http://%00/",
        "http://" + ".".join(["abcdefgh"] * 29) + "/",
    ],
)  # fmt: skip
def test_no_address(url: str) -> None:
    """What is no URL of a host is refused, by the caller's fault."""
    with pytest.raises(UrlIllegalError):
        web_address.parse(url)


def test_a_long_location_is_not_read() -> None:
    """A name of 64 KB of accents would keep every thread of the engine waiting for seconds."""
    accents = "\u0300\u0316" * 8_000
    for location in (accents, f"http://a{accents}.example/", f"//a{accents}.example/"):
        with pytest.raises(UrlIllegalError):
            web_address.parse(
                web_address.redirected("http://a/", location.encode().decode("latin-1"))
            )
    with pytest.raises(UrlIllegalError):
        web_address.parse(f"http://a{accents}.example/")
    signed = f"http://a.example/1.jpg?signature={'x' * 8_000}"
    assert signed == web_address.redirected("http://a/", signed)
    assert "a.example" == web_address.parse(signed).host


def test_an_address() -> None:
    """A URL has its parts; what a request line cannot hold is escaped."""
    read = web_address.parse("HTTPS://Bücher.example:8443/ä%20b?q=ü&x=%C3#part")
    assert (True, "xn--bcher-kva.example", 8443) == (read.https, read.host, read.port)
    assert "/%C3%A4%20b?q=%C3%BC&x=%C3" == read.path
    assert "::1" == web_address.parse("http://[0:0::1]/").host
    assert ("a_b.example.", 80, "/") == (
        (plain := web_address.parse("http://a_b.example.")).host,
        plain.port,
        plain.path,
    )


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("straße.example", "xn--strae-oqa.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("ΌΣΟΣ.example", "xn--0xahb7a.example"),
        ("BÜCHER。example", "xn--bcher-kva.example"),
        ("例え.example", "xn--r8jz45g.example"),
        ("a_b.example", "a_b.example"),
    ],
)
def test_names_are_read_as_browsers_read_them(host: str, name: str) -> None:
    """Another reading would be another site."""
    assert name == web_address.parse(f"http://{host}/x.jpg").host


@seed(20260701)
@given(urls | hosts.map("http://{}/x".format) | hosts.map("https://{}".format))
@example("http://a..b/x")
@example("http://[x")
def test_any_text_is_read_or_refused(url: str) -> None:
    """Any text is an address in ASCII with a host and a port, or UrlIllegalError."""
    try:
        read = web_address.parse(url)
    except UrlIllegalError:
        return
    assert read.host.isascii()
    assert re.fullmatch(r"[!-~]+", read.path)
    assert read.path.startswith("/")
    assert 0 < read.port < 65536


@seed(20260701)
@given(urls, st.binary(max_size=40) | urls.map(str.encode))
@example("http://a/", b"http://[x")
@example("http://a/", b"//[")
def test_any_location_is_read_or_refused(url: str, location: bytes) -> None:
    """Any bytes in a ``Location`` header give a text, or UrlIllegalError."""
    try:
        target = web_address.redirected(url, location.decode("latin-1"))
    except UrlIllegalError:
        return
    assert isinstance(target, str)


@seed(20260701)
@given(hosts.map("http://{}/x".format) | hosts.map("https://{}".format))
def test_any_host_is_refused_as_one(url: str) -> None:
    """A download from any host that is not there ends with an error of images."""
    real = socket.getaddrinfo

    def known(host: str, port: int, **_: object) -> Any:
        # The resolver's own checks of a name, but nobody is asked.
        return real(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", known)
        with pytest.raises(ImageError):
            _downloader.download(url)


def test_nobody_else_is_blamed_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a library raises for what a host says, the host is refused."""

    def broken(*_: object, **__: object) -> object:
        raise ValueError("foreign")

    monkeypatch.setattr("socket.getaddrinfo", broken)
    with pytest.raises(UrlRefusedError):
        Downloader(allow_private=False).download("http://a.example/")


@pytest.mark.parametrize("host", ["[v1.x]", "[fe80::1%25eth0]", "[::1%lo]", "[v1.a:b]", "[a]"])
def test_brackets_hold_ipv6_only(host: str) -> None:
    """Whatever the interpreter admits between brackets, only IPv6 without a zone is a host."""
    with pytest.raises(UrlIllegalError):
        web_address.parse(f"http://{host}/")
