"""Downloads by url: what is fetched, what is refused, and to whom the engine never talks."""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest

from demo.processes import Engine
from productsearch_engine.api import codes
from productsearch_engine.api.error_mapping import api_error
from productsearch_engine.images import bounded_answer, download
from productsearch_engine.images.download import Downloader
from productsearch_engine.images.errors import (
    DownloadFailure,
    ImageError,
    ImageSizeError,
    NothingToSpareError,
    UrlRefusedError,
    UrlTimeoutError,
)
from productsearch_engine.images.own_address import is_own
from tests.engine.calling import Caller, code_of, signs_of
from tests.engine.image_files import jpeg
from tests.lifecycle.asking import until
from tests.ports import closed_port


@dataclass
class Site:
    """A web server on loopback and what it was asked for."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Serves images, redirects, slow and endless answers."""
    known = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.asked.append(self.path)
            known.headers.append(dict(self.headers))
            kind, _, value = self.path.partition("?")[0].strip("/").partition("/")
            if kind == "to":
                self.send_response(302)
                self.send_header("Location", value)
                self.end_headers()
            elif kind == "loop":
                self.send_response(302)
                self.send_header("Location", "/loop")
                self.end_headers()
            elif kind == "status":
                self.send_error(int(value))
            elif kind == "big":
                self.send_response(200)
                self.end_headers()
                with suppress(OSError):
                    for _ in range(80):
                        self.wfile.write(bytes(65536))
            elif kind == "drip":
                with suppress(OSError):
                    for _ in range(200):
                        self.wfile.write(b"H")
                        time.sleep(0.05)
                    known.asked.append("dripped to the end")
            elif kind == "zipped":
                encoding, _, size = value.partition("/")
                plain = bytes(int(size)) if size else jpeg(1)
                self.send_response(200)
                self.send_header("Content-Encoding", encoding)
                self.end_headers()
                wbits = 31 if "gzip" in encoding else 15
                packer = zlib.compressobj(wbits=wbits)
                packed = packer.compress(plain) + packer.flush()
                with suppress(OSError):
                    self.wfile.write(packed[: len(packed) // 2] if "cut" in self.path else packed)
            elif kind == "endless":
                start, piece = (bytes.fromhex(part) for part in value.split("/"))
                with suppress(OSError):
                    self.wfile.write(start)
                    for _ in range(100):
                        self.wfile.write(piece * ((1 << 20) // len(piece)))
                    known.asked.append("read to the end")
            elif kind == "raw":
                self.wfile.write(bytes.fromhex(value))
            elif kind == "short":
                self.send_response(200)
                self.send_header("Content-Length", "9999999")
                self.end_headers()
                self.wfile.write(jpeg(1))
            else:
                self.send_response(200)
                self.end_headers()
                other = {"empty": b"", "page": b"\n<!DOCTYPE html><title>", "gif": b"GIF89a"}
                self.wfile.write(other[kind] if kind in other else jpeg(int(value)))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        known.url = f"http://127.0.0.1:{server.server_port}"
        yield known
        server.shutdown()


@pytest.fixture(autouse=True)
def _forget(site: Site) -> None:
    site.asked.clear()
    site.headers.clear()


def test_calls_by_url(open_caller: Caller, site: Site) -> None:
    """Add, search, update and delete take a url instead of an image."""
    url = site.url + "/jpg/1"
    added = open_caller.call("add", url=url, brief="x")
    assert 0 == code_of(added)
    again = open_caller.call("add", image=jpeg(1), brief="y")
    assert (216681, added["cont_sign"]) == (again["error_code"], again["cont_sign"])
    assert 0 == code_of(open_caller.call("update", url=url, brief="z"))
    assert ["z"] == [hit["brief"] for hit in open_caller.call("search", url=url)["result"]]
    assert 0 == code_of(open_caller.call("delete", url=url))
    assert [] == signs_of(open_caller.call("search", url=url))


def test_image_comes_before_url(open_caller: Caller, site: Site) -> None:
    """With both sent, the url is not fetched."""
    assert 0 == code_of(open_caller.call("search", image=jpeg(1), url=site.url + "/jpg/1"))
    assert [] == site.asked


def test_url_comes_before_sign(open_caller: Caller, site: Site) -> None:
    """With both sent, update and delete are about the image at the url."""
    one = open_caller.call("add", image=jpeg(1), brief="1")["cont_sign"]
    two = open_caller.call("add", image=jpeg(2), brief="2")["cont_sign"]
    open_caller.call("delete", url=site.url + "/jpg/1", cont_sign=two)
    assert [two] == signs_of(open_caller.call("search", image=jpeg(1)))
    assert one != two
    open_caller.call("delete", cont_sign=two)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/status/404", 282113),
        ("/status/500", 282113),
        ("/loop", 282113),
        ("/short", 282113),
        ("/big", 216202),
        ("/empty", 216200),
        ("/page", 216201),
        ("/gif", 216201),
        ("/to/ftp://a.example/", 282111),
        ("/to//jpg/1", 0),
        ("/zipped/gzip", 0),
        ("/zipped/x-gzip", 0),
        ("/zipped/deflate", 0),
        ("/zipped/br", 282113),
        ("/zipped/gzip/50000000", 216202),
        ("/zipped/gzip?cut", 282113),
    ],
)
def test_answers_of_the_host(open_caller: Caller, site: Site, path: str, code: int) -> None:
    """What the host answers decides the code; a redirect is followed."""
    assert code == code_of(open_caller.call("search", url=site.url + path))


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("/status/404", "answered 404"),
        ("/loop", "redirects more than 3 times"),
        ("/to/ftp://a.example/", "redirects to what is no URL of http or https"),
        ("/big", "sends more than 4 MiB"),
        ("/zipped/br", "sent the image in an encoding that is not read"),
        ("/zipped/gzip?cut", "sent a body that ends too early"),
        ("/short", "sent an answer that cannot be read"),
        ("/page", "sent a web page"),
        ("/gif", "sent what is no JPEG, PNG or BMP"),
    ],
)
def test_why_it_failed_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch, path: str, cause: str
) -> None:
    """Of a public host its caller is told; of a private one that is fetched the log is, alone.

    Nothing of the URL but host and port is in either.
    """
    secret = f"{site.url}{path}{'&' if '?' in path else '?'}token=secret"
    with pytest.raises(ImageError) as private:
        Downloader(allow_private=True).download(secret)
    monkeypatch.setattr(download, "is_public", lambda _: True)
    monkeypatch.setattr(download, "is_own", lambda _: False)
    with pytest.raises(ImageError) as public:
        Downloader(allow_private=False).download(secret)
    host = site.url.removeprefix("http://")
    told = "private address; the engine's log has the cause"
    assert DownloadFailure(host, cause, told) == private.value.failure
    assert DownloadFailure(host, cause, f"the host {cause}") == public.value.failure
    assert api_error(public.value, 1).message.endswith(f": the host {cause}")


def test_a_private_address_is_told_as_that(site: Site) -> None:
    """The address itself is for the log; a name without one and a closed port are told apart."""
    with pytest.raises(UrlRefusedError) as refused:
        Downloader(allow_private=False).download(f"{site.url}/jpg/1")
    host = site.url.removeprefix("http://")
    found = DownloadFailure(host, "private address 127.0.0.1", "private address")
    assert found == refused.value.failure
    assert "url response invalid: private address" == api_error(refused.value, 1).message
    with pytest.raises(UrlRefusedError) as nameless:
        Downloader(allow_private=False).download("http://none.invalid/")
    found = DownloadFailure("none.invalid:80", "has no address", "the host has no address")
    assert found == nameless.value.failure


def test_the_line_of_a_call_says_why(open_caller: Caller, site: Site, open_engine: Engine) -> None:
    """Host and cause, once; of the URL no path, query or user."""
    answer = open_caller.call("search", url=f"{site.url}/status/410?secret-query=1")
    assert (
        "url response invalid: private address; the engine's log has the cause"
        == (answer["error_msg"])
    )
    until(lambda: f'"log_id":{answer["log_id"]}' in open_engine.log(), "the line")
    (line,) = [line for line in open_engine.log().splitlines() if str(answer["log_id"]) in line]
    told = json.loads(line)
    assert (site.url.removeprefix("http://"), "answered 410") == (
        told["url_host"],
        told["url_cause"],
    )
    assert "/status/" not in open_engine.log()
    assert "secret-query" not in open_engine.log()


def test_location_as_hosts_write_it(open_caller: Caller, site: Site) -> None:
    """A ``Location`` with raw UTF-8, a blank, or blanks around it is followed."""
    for location in ("/jpg/1?größe=1", "/jpg/1?a b", "  /jpg/1  ", "jpg/../../jpg/1?ü ü"):
        head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n".encode()
        answer = open_caller.call("search", url=f"{site.url}/raw/{head.hex()}")
        assert 0 == code_of(answer), location
    assert "/jpg/1?gr%C3%B6%C3%9Fe=1" in site.asked


def test_redirects_are_bounded(open_caller: Caller, site: Site) -> None:
    """Three redirects are followed, a fourth is not."""
    open_caller.call("search", url=site.url + "/loop")
    assert 4 == len(site.asked)


def test_private_is_refused_before_connecting(shared_caller: Caller, site: Site) -> None:
    """Without the setting a private address is 282113 and is never connected to."""
    port = site.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1", "0x7f000001"):
        answer = shared_caller.call("search", url=f"http://{host}:{port}/jpg/1")
        assert 282113 == answer["error_code"]
    assert [] == site.asked


def test_every_hop_is_checked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect from an admitted host to a private one is refused before connecting."""
    monkeypatch.setattr(download, "is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(download, "is_own", lambda _: False)
    port = site.url.rpartition(":")[2]
    downloader = Downloader(allow_private=False)
    assert jpeg(1) == downloader.download(site.url + "/jpg/1")
    site.asked.clear()
    with pytest.raises(UrlRefusedError):
        downloader.download(f"{site.url}/to/http://127.0.0.2:{port}/jpg/1")
    assert [f"/to/http://127.0.0.2:{port}/jpg/1"] == site.asked


def test_the_address_is_looked_up_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that changes its address between check and connection gains nothing."""
    real, port = socket.getaddrinfo, int(site.url.rpartition(":")[2])
    answers = iter(["203.0.113.1", "127.0.0.1"])

    def changing(host: str, *args: object, **options: object) -> object:
        return real(next(answers) if host == "rebind.example" else host, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    with pytest.raises(UrlRefusedError):
        Downloader(allow_private=False).download(f"http://rebind.example:{port}/jpg/1")
    assert [] == site.asked
    assert "127.0.0.1" == next(answers)


def test_a_slow_host_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that drips bytes for ever is cut off at the total time, not at each byte's."""
    monkeypatch.setattr(download, "DOWNLOAD_S", 0.3)
    with pytest.raises(UrlTimeoutError):
        Downloader(allow_private=True).download(site.url + "/drip")
    assert ["/drip"] == site.asked


def test_a_silent_host_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that accepts and says nothing is cut off, over TLS too."""
    monkeypatch.setattr(download, "DOWNLOAD_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("http", "https"):
            with pytest.raises(UrlTimeoutError):
                Downloader(allow_private=True).download(
                    f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/"
                )


def test_a_silent_address_leaves_time_for_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a host with several addresses one may be lost, as IPv6 is in some networks."""
    monkeypatch.setattr(download, "DOWNLOAD_S", 6)
    good = int(site.url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as waiting:
        for _ in range(4):  # nobody accepts, so from the second on nobody is answered
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
            for port in (full.getsockname()[1], good)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert jpeg(1) == Downloader(allow_private=True).download("http://two.example/image/1")


def test_without_descriptors_nothing_is_said_of_the_host(site: Site) -> None:
    """The engine has none to spare: no host refused, and its own address is not another's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(NothingToSpareError):
            Downloader(allow_private=True).download(f"{site.url}/image/1")
        with pytest.raises(NothingToSpareError):
            is_own("127.0.0.1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert codes.UNAVAILABLE == api_error(NothingToSpareError(), 1).code


def test_without_threads_nothing_is_said_of_the_host(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for threads."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    downloader = Downloader(allow_private=True)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Timer, "start", start)
        with pytest.raises(NothingToSpareError):
            downloader.download(f"{site.url}/image/1")
    assert jpeg(1) == downloader.download(f"{site.url}/image/1")


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2;a=b\r\nxy\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"a: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
    ],
    ids=["chunks of 1", "chunks of 2", "trailers", "interim", "hints"],
)
def test_what_is_no_content_is_bounded(start: bytes, piece: bytes, site: Site) -> None:
    """Heads, sizes and trailers without end are not read to the end, nor for the whole time."""
    with pytest.raises(UrlRefusedError):
        Downloader(allow_private=True).download(f"{site.url}/endless/{start.hex()}/{piece.hex()}")
    assert "read to the end" not in site.asked


def test_small_chunks(site: Site) -> None:
    """A host may send an image in pieces as small as some servers make them."""
    file = jpeg(1)[:3000]
    chunks = [file[at : at + 512] for at in range(0, len(file), 512)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    assert file == Downloader(allow_private=True).download(f"{site.url}/raw/{said.hex()}")


def test_nobody_there() -> None:
    """A port where nobody listens is refused."""
    with closed_port() as port, pytest.raises(UrlRefusedError):
        Downloader(allow_private=True).download(f"http://127.0.0.1:{port}/")


def test_nothing_of_ours_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the environment is used and no credentials are sent."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert jpeg(1) == Downloader(allow_private=True).download(site.url + "/jpg/1")
    assert {"Host", "Accept", "Accept-Encoding", "User-Agent", "Connection"} == site.headers[
        0
    ].keys()


def test_limit_of_a_download(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of exactly the bound is taken, one byte more is not."""
    image = jpeg(1)
    monkeypatch.setattr(bounded_answer, "DOWNLOAD_BYTES_MAX", len(image))
    assert image == Downloader(allow_private=True).download(site.url + "/jpg/1")
    monkeypatch.setattr(bounded_answer, "DOWNLOAD_BYTES_MAX", len(image) - 1)
    with pytest.raises(ImageSizeError):
        Downloader(allow_private=True).download(site.url + "/jpg/1")


def test_the_machines_own_addresses_are_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address of an interface is refused though it is public, unless private ones are allowed:
    here the one on loopback passes as public, and is not connected to.
    """
    monkeypatch.setattr(download, "is_public", lambda _: True)
    site.asked.clear()
    with pytest.raises(UrlRefusedError):
        Downloader(allow_private=False).download(site.url + "/status/404")
    assert [] == site.asked
    with pytest.raises(UrlRefusedError):
        Downloader(allow_private=True).download(site.url + "/status/404")
    assert ["/status/404"] == site.asked


def test_addresses_of_interfaces_are_own() -> None:
    """All addresses of all interfaces are this machine's, and public ones of others are not."""
    families = (socket.AF_INET, socket.AF_INET6)
    found = [each for cards in psutil.net_if_addrs().values() for each in cards]
    own = [each.address for each in found if each.family in families and "%" not in each.address]
    assert "127.0.0.1" in own
    for address in own:
        assert is_own(address), address
    for address in ("1.1.1.1", "192.0.2.1", "2606:4700::1111", "::ffff:8.8.8.8", "nowhere"):
        assert not is_own(address)
