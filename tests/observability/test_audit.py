"""The audit stream: each write has a line, and no line can be changed or lost unseen."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from productsearch import v1
from productsearch_service import cli, limits
from productsearch_service.audit import Audit, Write, writer_of, wrong_content
from productsearch_service.audit_chain import verify
from productsearch_service.redaction import register_secret
from productsearch_service.server.listen import CannotListen
from tests.conftest import ServerFactory
from tests.fakes.upstream import FakeUpstream, Fault, error
from tests.pictures import jpeg

IMAGE = v1.ImageSource(content=jpeg(1))
WRITE = Write("web", "default", "add", "1,2", "CREATED", 101, 1_700_000_000.0)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _written(path: Path, count: int = 3) -> None:
    audit = Audit(path)
    for _ in range(count):
        audit.record(WRITE)
    audit.close()


def test_each_write_has_a_line(
    server: ServerFactory, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Unary, bulk and batch; what succeeded and what failed; searches have none."""
    path = tmp_path / "audit.jsonl"
    facade = server(audit_file=path)
    new = v1.NewImage(image=IMAGE, brief="a brief that is nobody's business")
    with v1.connect(f"127.0.0.1:{facade.port}") as channel:
        stub = v1.ProductSearchStub(channel)
        stub.SearchImages(v1.SearchImagesRequest(image=IMAGE))
        stub.AddImage(v1.AddImageRequest(new_image=new))
        sign = v1.ImageRef(cont_sign="3,4")
        stub.UpdateImage(v1.UpdateImageRequest(image_ref=sign, brief="b"))
        by_image = v1.ImageRef(image=IMAGE)
        stub.DeleteImage(v1.DeleteImageRequest(image_ref=by_image))
        stub.BatchDeleteImages(v1.BatchDeleteImagesRequest(cont_signs=["5,6", "7,8"]))
        item = v1.BulkAddImagesRequest(item=v1.BulkAddImagesRequest.Item(key="k", new_image=new))
        [*stub.BulkAddImages(iter([item]))]
        upstream.always("update", error(216680, log_id=9))
        with pytest.raises(grpc.RpcError):
            stub.UpdateImage(v1.UpdateImageRequest(image_ref=sign, brief="b"))
    facade.stop()
    found = [
        (line["action"], line["sign"], line["result"], line["log_id"]) for line in _lines(path)
    ]
    assert [
        ("add", "1,2", "CREATED", 101),
        ("update", "3,4", "UPDATED", 103),
        ("delete", "", "DELETED", 104),
        ("delete", "5,6", "DELETED", 104),
        ("delete", "7,8", "DELETED", 104),
        ("add", "1,2", "CREATED", 101),
        ("update", "3,4", "IMAGE_NOT_FOUND", 9),
    ] == found
    assert all(line["caller"] for line in _lines(path))
    assert "nobody's business" not in path.read_text()
    verdict = verify([path])
    assert (7, [], []) == (verdict.lines, verdict.wrong, verdict.cut)
    assert 0o600 == path.stat().st_mode & 0o777


def test_a_write_that_nobody_waits_for_has_a_line(
    server: ServerFactory, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Its caller left, or its deadline came, before the upstream answered: it may be done."""
    path = tmp_path / "audit.jsonl"
    facade = server(audit_file=path)
    answered = {"log_id": 1, "cont_sign": "1,2"}
    with v1.connect(f"127.0.0.1:{facade.port}") as channel:
        stub = v1.ProductSearchStub(channel)
        add = v1.AddImageRequest(new_image=v1.NewImage(image=IMAGE, brief="b"))
        stub.AddImage(add)  # there is a token now
        for method in ("add", "delete"):
            upstream.always(method, Fault(seconds=3, body=json.dumps(answered).encode()))
        signs = v1.BatchDeleteImagesRequest(cont_signs=["5,6", "7,8"])
        calls = [
            stub.AddImage.future(add),
            stub.BatchDeleteImages.future(signs),
            stub.AddImage.future(add, timeout=0.7),
        ]
        _until(lambda: len(upstream.calls) == 4)
        for call in calls[:2]:
            call.cancel()
        assert calls[2].exception() is not None
        _until(lambda: len(_lines(path)) == 5)
    facade.stop()
    first, *left = [(line["action"], line["sign"], line["result"]) for line in _lines(path)]
    assert ("add", "1,2", "CREATED") == first
    assert [
        ("add", "", "ADD_OUTCOME_UNKNOWN"),
        ("add", "", "UNKNOWN"),
        ("delete", "5,6", "UNKNOWN"),
        ("delete", "7,8", "UNKNOWN"),
    ] == sorted(left)


def test_a_keep_is_one_line(server: ServerFactory, upstream: FakeUpstream, tmp_path: Path) -> None:
    """A policy that writes twice at the upstream is one write of its caller."""
    path = tmp_path / "audit.jsonl"
    facade = server(audit_file=path)
    upstream.always("add", error(216681, cont_sign="1,2"))
    request = v1.AddImageRequest(
        new_image=v1.NewImage(image=IMAGE, brief="b"),
        duplicate_policy=v1.DuplicatePolicy.DUPLICATE_POLICY_UPDATE,
    )
    with v1.connect(f"127.0.0.1:{facade.port}") as channel:
        v1.ProductSearchStub(channel).AddImage(request)
    facade.stop()
    assert [("add", "UPDATED")] == [(line["action"], line["result"]) for line in _lines(path)]


def test_the_chain_goes_on_after_a_restart_and_a_rotation(tmp_path: Path) -> None:
    """A line that a crash cut off is named, and breaks nothing."""
    path, older = tmp_path / "audit.jsonl", tmp_path / "audit.1.jsonl"
    _written(path)
    with path.open("a") as file:
        file.write('{"seq":4,"time":"20')
    _written(path)
    path.rename(older)
    audit = Audit(path)
    audit.close()
    assert 0 == path.stat().st_size
    assert (6, []) == ((found := verify([older])).lines, found.wrong)
    assert 1 == len(found.cut)


def test_a_file_that_is_renamed_is_followed(tmp_path: Path) -> None:
    """What comes after it goes to the file of the name, and the chain goes on."""
    path, older = tmp_path / "audit.jsonl", tmp_path / "audit.1.jsonl"
    audit = Audit(path)
    audit.record(WRITE)
    _until(lambda: audit.written == 1)
    path.rename(older)
    audit.record(WRITE)
    audit.close()
    assert (1, 1) == (len(_lines(older)), len(_lines(path)))
    assert (2, []) == ((found := verify([older, path])).lines, found.wrong)
    assert verify([path, older]).wrong


@pytest.mark.parametrize("noticed", [True, False])
def test_a_file_that_is_renamed_before_a_stop_is_followed(tmp_path: Path, noticed: bool) -> None:
    """Though nobody writes in between: else the next start would begin another chain."""
    path, older = tmp_path / "audit.jsonl", tmp_path / "audit.1.jsonl"
    audit = Audit(path)
    audit.record(WRITE)
    _until(lambda: audit.written == 1)
    path.rename(older)
    if noticed:
        _until(lambda: path.exists() and path.stat().st_size > 0)
    audit.close()
    assert ["rotate"] == [line["action"] for line in _lines(path)]
    _written(path)
    assert (5, []) == ((found := verify([older, path])).lines, found.wrong)
    assert 1 == audit.written


def test_a_file_that_was_renamed_while_no_service_ran_is_told_as_such(tmp_path: Path) -> None:
    """Nobody can say whether lines are missing; each file is whole."""
    path, older = tmp_path / "audit.jsonl", tmp_path / "audit.1.jsonl"
    _written(path)
    path.rename(older)
    _written(path)
    (told,) = verify([older, path]).wrong
    assert f"{path}:1: begins a new chain: the file before was renamed" in told
    assert not verify([older]).wrong + verify([path]).wrong


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\u2029"])
def test_a_name_with_a_line_end_of_unicode_breaks_no_chain(tmp_path: Path, mark: str) -> None:
    """It stands in its line as it is; lines end with a line feed and nothing else."""
    path = tmp_path / "audit.jsonl"
    for _ in range(2):
        audit = Audit(path)
        audit.record(replace(WRITE, caller=f"web{mark}shop"))
        audit.close()
    assert (2, []) == ((found := verify([path])).lines, found.wrong)


def test_copies_of_a_file_can_be_verified(tmp_path: Path) -> None:
    """With other line ends; a compressed one says what to do first."""
    path, copy, packed = (tmp_path / name for name in ("a.jsonl", "copy.jsonl", "a.jsonl.gz"))
    _written(path)
    copy.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert (3, []) == ((found := verify([copy])).lines, found.wrong)
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(OSError, match="is compressed; unpack it first"):
        verify([packed])


@pytest.mark.parametrize("content", ["listen = 1\n", "x" * 100_000, '{"a": 1}\n'])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: str) -> None:
    """Settings, or a log, that audit_file names by mistake: told at the check and at the start."""
    path = tmp_path / "other"
    path.write_text(content)
    path.chmod(0o644)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its strerror is looked at
        Audit(path)
    assert "holds something else" in str(caught.value.strerror)
    assert content == path.read_text()
    assert 0o644 == path.stat().st_mode & 0o777
    assert "holds something else" in wrong_content(path)


@pytest.mark.parametrize("content", ["", "\n", '{"seq":1,"ti'])
def test_a_stream_that_hardly_began_is_gone_on_with(tmp_path: Path, content: str) -> None:
    """A crash may have left no whole line."""
    path = tmp_path / "audit.jsonl"
    path.write_text(content)
    _written(path)
    assert 3 == verify([path]).lines


def test_a_pipe_or_a_device_is_no_file(tmp_path: Path) -> None:
    """Whoever opens a pipe without a reader waits for one, for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/null")):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its strerror is looked at
            Audit(path)
        assert "is no ordinary file" == caught.value.strerror
        with pytest.raises(OSError, match="is no ordinary file"):
            verify([path])


@pytest.mark.parametrize("option", ["--after", "--named"])
def test_what_is_no_digest_is_a_wrong_argument(
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not a line that was removed; one in capital letters is the same digest."""
    path = tmp_path / "audit.jsonl"
    _written(path, 1)
    last = _lines(path)[0]["digest"]
    monkeypatch.setattr(sys, "argv", ["", "audit", "verify", str(path), option, last[:-1]])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert 2 == ended.value.code
    assert "must be 64 digits of 0-9 and a-f" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["", "audit", "verify", str(path), "--named", last.upper()])
    assert 0 == cli.main()


def _until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_whatever_is_changed_is_found(data: st.DataObject, tmp_path: Path) -> None:
    """A byte, a line taken out, put in twice, or moved; one of another form put in."""
    path = tmp_path / "audit.jsonl"
    path.unlink(missing_ok=True)
    _written(path, 5)
    lines = path.read_text().splitlines(keepends=True)
    at = data.draw(st.integers(0, 4))
    match data.draw(st.sampled_from(["byte", "drop", "behead", "twice", "swap", "forge", "put"])):
        case "byte":
            place = data.draw(st.integers(0, len(lines[at]) - 2))
            letter = data.draw(st.sampled_from('0aZ"}é'))
            if lines[at][place] == letter:
                return
            lines[at] = lines[at][:place] + letter + lines[at][place + 1 :]
        case "forge":  # a line that is whole by itself, as one who knows the format writes it
            at = min(at, 3)  # a forged end is found by a digest that the log named
            changed = lines[at].partition(',"digest"')[0].replace("CREATED", "DELETED")
            digest = hashlib.sha256(changed.encode()).hexdigest()
            lines[at] = f'{changed},"digest":"{digest}"}}\n'
        case "drop":
            del lines[min(at, 3)]
        case "behead":
            del lines[: min(at, 3) + 1]
        case "put":  # readable for those who search it, and without a digest
            members = json.loads(lines[at]) | {"result": "DELETED"}
            del members["previous"], members["digest"]
            lines.insert(at, json.dumps(members, separators=(",", ":")) + "\n")
        case "twice":
            lines.insert(at, lines[at])
        case "swap":
            lines[at], lines[at - 1] = lines[at - 1], lines[at]
    path.write_text("".join(lines))
    assert verify([path]).wrong


def test_a_crash_may_cut_a_line_anywhere(tmp_path: Path) -> None:
    """Whatever is left of it is told, and nothing is wrong, also once the stream has gone on."""
    path = tmp_path / "audit.jsonl"
    _written(path, 2)
    first, second = path.read_text().splitlines()
    for end in range(1, len(second)):
        for after, lines in (("", 1), (f"\n{second}\n", 2)):
            path.write_text(f"{first}\n{second[:end]}{after}")
            found = verify([path])
            assert (lines, [], 1) == (found.lines, found.wrong, len(found.cut))


def test_two_services_cannot_write_one_stream(tmp_path: Path) -> None:
    """The second one is told so, and can once the first has ended."""
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    with pytest.raises(OSError, match="is written by"):
        Audit(path)
    audit.close()
    _written(path)
    assert (3, []) == ((found := verify([path])).lines, found.wrong)


def test_the_command(tmp_path: Path) -> None:
    """Exit 0, 1 for a broken chain, 2 for a file that is not there."""
    path = tmp_path / "audit.jsonl"
    _written(path)

    def ask(*files: Path | str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "productsearch_service", "audit", "verify", *files],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    code, told = ask(path)
    assert (0, True) == (code, "3 lines, the chain is whole" in told)
    whole = path.read_text()
    first, *_, last = (line["digest"] for line in _lines(path))
    path.write_text("".join(whole.splitlines(keepends=True)[1:]))
    code, told = ask(path)
    assert (1, True) == (
        code,
        f"begins after line 1: give the older files too, or --after {first}" in told,
    )
    assert 0 == ask(path, "--after", first, "--named", last)[0]
    path.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    assert (0, 1) == (ask(path)[0], ask(path, "--named", last)[0])
    path.write_text(whole)
    path.write_text(path.read_text().replace('"action":"add"', '"action":"search"', 1))
    code, told = ask(path)
    assert (1, True) == (code, f"{path}:1: was changed" in told)
    assert 2 == ask(tmp_path / "none")[0]


def test_a_disk_that_does_not_keep_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lost is counted, and a line says how much; the chain is whole."""
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    real, fails = os.fsync, [True]

    def fsync(descriptor: int) -> None:
        if fails[0]:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    audit.record(WRITE)
    _until(lambda: audit.lost == 1)
    fails[0] = False
    audit.record(WRITE)
    audit.close()
    assert [1, None] == [line.get("lost") for line in _lines(path)]
    assert (2, []) == ((found := verify([path])).lines, found.wrong)


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the levels and ends of the log's lines of trouble."""
    return [
        f"{each.levelname} {each.getMessage().rpartition('audit.jsonl: ')[2]}"
        for each in caplog.records
        if each.levelno > logging.INFO
    ]


_BEGIN = "ERROR No space left on device; lines are being lost, and one will say how many"


@pytest.mark.parametrize("calm_s", [0.0, 3600.0], ids=["is over", "takes one now and then"])
def test_a_full_disk_has_a_line_at_its_begin_and_one_at_its_end(
    calm_s: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the cause, and with how many lines were lost; not one for each."""
    monkeypatch.setattr(limits, "AUDIT_CALM_S", calm_s)
    audit = Audit(tmp_path / "audit.jsonl")
    real, fails = os.fsync, [False]

    def fsync(descriptor: int) -> None:
        if fails[0]:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    ends = {0.0: ["WARNING lines are written again; 9 were lost"], 3600.0: []}[calm_s]
    for turn in (1, 2):
        fails[0] = True
        for lost in range(9):
            audit.record(WRITE)
            _until(lambda end=9 * (turn - 1) + lost + 1: audit.lost == end)  # type: ignore[misc]
        fails[0] = False
        audit.record(WRITE)
        _until(lambda end=turn: audit.written == end)  # type: ignore[misc]
    audit.close()
    last = ["WARNING at the end; 18 were lost"] if calm_s else [_BEGIN, *ends]
    assert [_BEGIN, *ends, *last] == _told(caplog)


def test_writes_that_wait_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Over the bound they are lost, the caller does not wait, and the log has a line."""
    monkeypatch.setattr(limits, "AUDIT_WAITING_MAX", 0)
    audit = Audit(tmp_path / "audit.jsonl")
    for _ in range(9):
        audit.record(WRITE)
    assert 9 == audit.lost
    audit.close()
    begin = _BEGIN.replace("No space left on device", "the disk does not keep up")
    assert [begin, "WARNING at the end; 9 were lost"] == _told(caplog)


def test_a_secret_in_a_name_is_masked(tmp_path: Path) -> None:
    """Callers can name themselves as they like."""
    register_secret("a-secret-of-the-audit-test")
    audit = Audit(tmp_path / "audit.jsonl")
    audit.record(
        Write('x"a-secret-of-the-audit-test\n', "default", "add", "1,2", "CREATED", 1, 0.0)
    )
    audit.close()
    assert "a-secret" not in (tmp_path / "audit.jsonl").read_text()
    assert 1 == verify([tmp_path / "audit.jsonl"]).lines


def test_a_file_that_cannot_be_opened_stops_the_start(
    server: ServerFactory, tmp_path: Path
) -> None:
    """With the setting's name, and no traceback."""
    with pytest.raises(Exception, match=r"audit_file: .*: Is a directory"):
        server(audit_file=tmp_path)


def test_a_folder_that_is_away_for_a_moment(tmp_path: Path) -> None:
    """What could not be written is counted, and the chain goes on, for the owner alone."""
    folder, away = tmp_path / "logs", tmp_path / "away"
    folder.mkdir()
    audit = Audit(folder / "audit")
    folder.rename(away)
    audit.record(WRITE)
    _until(lambda: audit.lost == 1)
    folder.mkdir()
    audit.record(WRITE)
    audit.close()
    lost, written = _lines(folder / "audit")
    assert (1, "CREATED") == (lost["lost"], written["result"])
    assert 0o600 == (folder / "audit").stat().st_mode & 0o777


def test_a_file_has_one_writer(server: ServerFactory, tmp_path: Path) -> None:
    """A second service does not start, and says whose it is; when the first has ended it does."""
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    audit.record(WRITE)
    with pytest.raises(CannotListen) as refused:
        server(audit_file=path)
    said = f"is written by another service, process {os.getpid()}; give each its own file"
    assert f"audit_file: {path}: {said}" == str(refused.value)
    assert os.getpid() == writer_of(path)
    audit.close()
    assert writer_of(path) is None
    _written(path, 1)
    verdict = verify([path])
    assert (0, 2) == (len(verdict.wrong), verdict.lines)


def test_the_writer_stays_through_a_rotation(tmp_path: Path) -> None:
    """The new file is its own, too."""
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    audit.record(WRITE)
    _until(lambda: audit.written == 1)
    path.rename(tmp_path / "audit.1.jsonl")
    audit.record(WRITE)
    _until(lambda: audit.written == 2)
    with pytest.raises(BlockingIOError):
        Audit(path)
    audit.close()
