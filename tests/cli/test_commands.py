"""add, search, update, delete, status: what they do to the library, print and exit with."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from productsearch.cli.exit_codes import ExitCode
from tests.cli.conftest import Cli
from tests.conftest import ServerFactory
from tests.fakes.upstream import FakeUpstream, error
from tests.ports import free_port

Photo = Callable[[int], Path]


def test_an_image_lives_and_dies(cli: Cli, target: str, photo: Photo) -> None:
    """Added, found, changed by sign and by image, deleted; JSON has all that is known."""
    added = cli("add", photo(1), "--brief", "a shoe", "--class-id1", "7", "--json")
    (row,) = added.rows
    assert (0, "created") == (added.code, row["outcome"])
    sign = row["cont_sign"]
    (hit,) = cli("search", photo(1), "--class-id1", "7", "--json").rows
    assert (sign, "a shoe") == (hit["cont_sign"], hit["brief"])
    assert hit["score"] > 0.99
    assert 0 == cli("update", sign, "--brief", "a boot").code
    assert 0 == cli("update", photo(1), "--class-id1", "9").code
    assert [] == cli("search", photo(1), "--class-id1", "7", "--json").rows
    narrow = cli("search", photo(1), "--class-id1", "7", "--min-score", "0.5")
    told = "no hits with --min-score 0.5 --class-id1 7; a search without may have some\n"
    assert ("", told) == (narrow.out, narrow.err)
    found = cli("search", photo(1), "--class-id1", "9").out.splitlines()
    assert ["#\tscore\tcont_sign\tbrief", f"1\t1.000\t{sign}\ta boot"] == found
    assert "deleted\t1" in cli("delete", photo(1)).out
    missing = cli("delete", sign)
    assert (ExitCode.SOME_REJECTED, True) == (missing.code, "IMAGE_NOT_FOUND" in missing.err)
    assert 0 == cli("delete", sign, "--allow-missing").code
    assert "no hits: the library holds no image that fits" in cli("search", photo(1)).err


def test_braces_in_the_brief_of_one_image_are_told(cli: Cli, target: str, photo: Photo) -> None:
    """Only import fills templates in: add and update store the brief as it stands, and say so."""
    told = "--brief is stored as it stands, with {stem}; import and sync fill such names in\n"
    added = cli("add", photo(1), "--brief", '{"id":"{stem}"}')
    assert (0, told) == (added.code, added.err)
    updated = cli("update", photo(1), "--brief", "{stem} and {stem}, {price}")
    assert (0, told) == (updated.code, updated.err)
    for brief in ('{"id":"sku-1"}', "{price}", "stem"):
        assert "" == cli("update", photo(1), "--brief", brief).err


def test_several_images_of_which_one_is_bad(
    cli: Cli, target: str, photo: Photo, tmp_path: Path
) -> None:
    """The good ones are stored; 3. All bad: 5. A duplicate is refused unless it is to be kept."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    some = cli("add", photo(1), bad, tmp_path / "missing.jpg", photo(2))
    assert ExitCode.SOME_REJECTED == some.code
    assert 3 == len(some.out.splitlines())
    assert "IMAGE_UNREADABLE" in some.err
    assert "missing.jpg: No such file or directory" in some.err
    one = cli("add", bad)
    assert (ExitCode.REFUSED, "") == (one.code, one.out)
    assert "\n  next: " in one.err
    again = cli("add", photo(1), "--json")
    assert (5, "IMAGE_ALREADY_EXISTS") == (again.code, again.rows[0]["reason"])
    kept = cli("add", photo(1), "--on-duplicate", "keep", "--json").rows[0]
    updated = cli("add", photo(1), "--on-duplicate", "update", "--brief", "n", "--json").rows[0]
    assert ["kept", "updated"] == [kept["outcome"], updated["outcome"]]
    assert "n" == cli("search", photo(1), "-n", "1", "--json").rows[0]["brief"]


def test_a_brief_cannot_drive_the_terminal(cli: Cli, target: str, photo: Photo) -> None:
    """Escape sequences, tabs and line ends are shown as what they are; JSON keeps them."""
    brief = "a\x1b]0;title\x07\tb\nc"
    cli("add", photo(1), "--brief", brief)
    row = cli("search", photo(1)).out.splitlines()[1]
    assert row.endswith(r"a\x1b]0;title\x07\tb\nc")
    assert 4 == len(row.split("\t"))
    assert brief == cli("search", photo(1), "--json").rows[0]["brief"]


def test_a_dry_run_stores_nothing(cli: Cli, target: str, photo: Photo) -> None:
    """The service checks and says so."""
    assert "validated" == cli("add", photo(1), "--dry-run", "--json").rows[0]["outcome"]
    assert [] == cli("search", photo(1), "--json").rows


def test_images_and_signatures_from_stdin(
    cli: Cli, target: str, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``-`` is an image for search and a list of signatures for delete."""
    signs = [cli("add", photo(seed), "--json").rows[0]["cont_sign"] for seed in range(3)]

    def stdin(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    stdin(photo(1).read_bytes())
    assert signs[1] == cli("search", "-", "--json").rows[0]["cont_sign"]
    stdin("\n".join([*signs[:2], "", "5,5"]).encode())
    deleted = cli("delete", "-", "--json")
    assert 3 == deleted.code
    assert [True, True, False] == [row["deleted"] for row in deleted.rows]
    assert [signs[2]] == [row["cont_sign"] for row in cli("search", photo(0), "--json").rows]


def test_more_hits_than_a_page(
    cli: Cli, server: ServerFactory, upstream: FakeUpstream, photo: Photo
) -> None:
    """Short pages are followed until there are enough hits."""
    upstream.always(
        "search",
        lambda _: {
            "log_id": 1,
            "has_more": True,
            "result": [{"cont_sign": "1,2", "score": 0.5, "brief": "b"}] * 4,
        },
    )
    target = f"127.0.0.1:{server().port}"
    assert 10 == len(cli("search", photo(1), "-n", "10", "-t", target, "--json").rows)


def test_status(
    cli: Cli, target: str, server: ServerFactory, upstream: FakeUpstream, photo: Photo
) -> None:
    """Answers, unknown library, nobody there; it costs no call of the quota."""
    assert (0, True) == ((good := cli("status", "--json")).code, good.rows[0]["answers"])
    unknown = cli("status", "--library", "shoes")
    assert (5, True) == (unknown.code, "LIBRARY_UNKNOWN" in unknown.err)
    nobody = f"127.0.0.1:{free_port()}"
    gone = cli("status", "-t", nobody)
    assert (6, True) == (gone.code, f"cannot reach {nobody}" in gone.err)
    assert 0 == cli("status", "-t", f"127.0.0.1:{server().port}").code
    assert [] == upstream.calls


def test_a_used_up_quota_is_4_and_an_upstream_that_is_down_6(
    cli: Cli, server: ServerFactory, upstream: FakeUpstream, photo: Photo
) -> None:
    """Each with what to do next; JSON says the reason."""
    for code, exit_code, reason in ((17, 4, "QUOTA_EXHAUSTED"), (2, 6, "UPSTREAM_UNAVAILABLE")):
        target = f"127.0.0.1:{server({'attempts_max': 1}).port}"
        upstream.always("search", error(code))
        failed = cli("search", photo(code), "-t", target, "--timeout", "3", "--json")
        assert (exit_code, reason) == (failed.code, failed.rows[0]["reason"])
        assert failed.rows[0]["next"]


def test_what_is_used_wrongly_is_2(cli: Cli, photo: Photo, tmp_path: Path) -> None:
    """Before anything is sent: unknown options, missing files, nothing to change."""
    for wrong in (
        ("search",),
        ("search", "--nonsense", "a"),
        ("nonsense",),
        ("search", str(tmp_path / "missing.jpg")),
        ("search", str(tmp_path)),
        ("add", photo(1), "--class-id1", "70000"),
        ("update", "1,2"),
        ("status", "--profile", "missing"),
        ("status", "--token-file", str(tmp_path / "missing")),
        ("status", "--plaintext", "--ca", "x.pem"),
        ("config", "set", "quota_qps", "many"),
    ):
        ran = cli(*wrong)
        assert ExitCode.USAGE == ran.code, wrong
        assert ran.err
        assert "Traceback" not in ran.err


def test_options_of_the_connection_may_come_first(
    cli: Cli, target: str, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the command as after it, and in both places: the later one counts."""
    monkeypatch.delenv("PRODUCTSEARCH_CLI_TARGET")
    assert 0 == cli("--target", target, "--json", "status").code
    assert 0 == cli(f"--target={target}", "add", photo(1)).code
    wrong = cli("-t", target, "--library", "wrong", "--json", "search", photo(1))
    assert (5, "LIBRARY_UNKNOWN") == (wrong.code, wrong.rows[0]["reason"])
    assert 0 == cli("-t", "127.0.0.1:1", "search", photo(1), "-t", target).code
    for incomplete in (("--target",), ("--target", target), ("--library=x",)):
        assert ExitCode.USAGE == cli(*incomplete).code


def test_a_command_that_is_none_leads_to_one(cli: Cli) -> None:
    """A slip of the pen, another tool's word; also as JSON."""
    for given, meant in (("serach", "search"), ("improt", "import"), ("rm", "delete")):
        assert f"Did you mean '{meant}'?" in cli(given).err
    (row,) = cli("serach", "--json").rows
    assert (2, True) == (row["exit_code"], "search" in row["error"])
    (row,) = cli("search", "--nonsense", "--json").rows
    assert (2, "productsearch search --help") == (row["exit_code"], row["next"])


def test_a_source_may_be_named_as_import_has_it(cli: Cli, target: str, photo: Photo) -> None:
    """`export SOURCE` and `status SOURCE`, beside --source."""
    folder = photo(1).parent
    cli("import", folder)
    assert cli("export", "--source", folder).out == cli("export", folder).out
    assert 1 == cli("status", folder, "--json").rows[0]["done"]


def test_status_asks_the_upstream_where_it_is_told_to(
    cli: Cli, target: str, server: ServerFactory, upstream: FakeUpstream
) -> None:
    """A service that answers by itself can have an upstream that does not; only --deep knows."""
    good = cli("status", "--deep", "--json")
    assert (0, True) == (good.code, good.rows[0]["upstream_answers"])
    upstream.always("search", error(2))
    broken = f"127.0.0.1:{server({'attempts_max': 1}).port}"
    assert 0 == cli("status", "-t", broken).code
    deep = cli("status", "--deep", "-t", broken)
    assert "answers\tyes\n" in deep.out
    assert "upstream_answers\tno\n" in deep.out
    assert (6, True) == (deep.code, "a search: UPSTREAM_UNAVAILABLE" in deep.err)
    upstream.always("search", error(216201))
    assert 0 == cli("status", "--deep", "-t", f"127.0.0.1:{server().port}").code


def test_waiting_is_told(
    cli: Cli, server: ServerFactory, upstream: FakeUpstream, photo: Photo
) -> None:
    """On stderr, with the time; so is in how many seconds it is worth to begin again."""
    upstream.always("search", error(2))
    target = f"127.0.0.1:{server({'attempts_max': 1, 'breaker_failures': 1}).port}"
    failed = cli("search", photo(1), "-t", target, "--timeout", "3")
    assert 6 == failed.code
    lines = failed.err.splitlines()
    assert re.search(r": upstream unavailable, trying again in \d+ s \(Ctrl-C ends\)$", lines[0])
    assert re.fullmatch(r"  next: run it again in [\d.]+ s", lines[-1])


def test_deletes_are_told_in_the_order_given(cli: Cli, target: str, photo: Photo) -> None:
    """Signatures and images may be mixed; what is neither is called so."""
    sign = cli("add", photo(1), "--json").rows[0]["cont_sign"]
    names = ["abc", sign, str(photo(2)), "5,5", "6,6", "nothing.jpg"]
    mixed = cli("delete", *names, "--json")
    assert names == [row["reference"] for row in mixed.rows]
    assert [False, True, False, False, False, False] == [row["deleted"] for row in mixed.rows]
    assert "abc: no signature, and no such file" == mixed.rows[0]["error"]
    assert "give a signature" in mixed.rows[0]["next"]
    assert "No such file" in cli("search", "abc").err
