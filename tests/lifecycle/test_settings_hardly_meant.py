"""Settings of the right type that nobody can mean: told at the check, not by a failing start."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from productsearch_service.server.files import CheckedSettings
from productsearch_service.settings_reading import SettingsError, read_settings

LIBRARY = '[libraries.default]\nbase_url = "http://127.0.0.1:9"\napi_key = "k"\nsecret_key = "s"\n'
TOP = {
    "connection_streams_max = 3000000000": "must be 1000000000 or less, not 3000000000",
    "connections_max = 99999999999999999999": "must be 1000000000 or less",
    "connection_age_max_s = 1e18": "must be 604800 or less, not 1e+18",
    "drain_grace_s = 1e300": "must be 604800 or less",
    "tls_poll_s = 1e-9": "must be 0.001 or more",
    "replicas = 99999999999999999999999": "must be 1000000000 or less",
    "sidecars = [167772160]": 'must be text such as "10.0.0.0/8", not 167772160',
    'policy_file = "/tmp/a\\u0000b"': "has a character that no path has",
    'audit_file = "/tmp/a\\u0000b"': "has a character that no path has",
    f'audit_file = "/tmp/{"a" * 300}"': "File name too long",
    'audit_file = "/dev/null"': "is no ordinary file",
    'listen = "http://127.0.0.1:50051"': "must be host:port, the host an IP address",
    'listen = " 127.0.0.1:50051"': "must be host:port, the host an IP address",
    'listen = "*:50051"': "0.0.0.0 for every address of this machine, not '*:50051'",
    'listen = "256.1.1.1:50051"': "must be host:port, the host an IP address",
    'listen = "[zz]:50051"': "must be host:port, the host an IP address",
    'metrics_listen = "::1:9464"': "must have an IPv6 address in brackets, as [::1]:50051",
}
OF_LIBRARY = {
    "quota_qps = 1e300": "must be 1000000000 or less",
    "quota_qps = 1e-300": "must be 0, or 0.001 or more",
    "credentials_poll_s = 1e300": "must be 604800 or less",
    "attempts_max = 99999999999999999999": "must be 1000000000 or less",
    "key_pair_ends = 20270131": "must be a day such as 2027-01-31, not 20270131",
    'base_url = "https://a.example\\n"': "must be https://host[:port]",
    'base_url = "https://a.example?"': "must be https://host[:port]",
    'base_url = "https://..."': "must be https://host[:port]",
    f'base_url = "https://{"a" * 64}.example"': "must be https://host[:port]",
    'api_key = ""': "is empty; give the key, or leave it out",
    'secret_key = "s\\n"': "has a blank or a line end in it, as no key has",
}


def _told(file: Path, content: str | bytes, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    monkeypatch.setenv("PRODUCTSEARCH_SETTINGS", str(file))
    with pytest.raises(SettingsError) as wrong:
        read_settings(CheckedSettings)
    return str(wrong.value).splitlines()


@pytest.mark.parametrize(("line", "says"), [*TOP.items(), *OF_LIBRARY.items()])
def test_each_is_told_with_its_line_and_what_would_be_right(
    line: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that timers and gRPC do not take, hosts that are none, files that cannot be."""
    file, name = tmp_path / "settings.toml", line.partition(" ")[0]
    kept = "".join(one for one in LIBRARY.splitlines(keepends=True) if not one.startswith(name))
    content, number = (f"{line}\n{LIBRARY}", 1) if line in TOP else (f"{kept}{line}\n", 0)
    number = number or content.count("\n")
    told = _told(file, content, monkeypatch)
    assert any(says in one and f"({file}, line {number})" in one for one in told), told
    assert all(f"{name}" in one for one in told)


def test_the_longest_and_the_most_can_be_started_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the check allows gRPC takes: milliseconds of 31 bits, and as many streams."""
    file = tmp_path / "settings.toml"
    file.write_text(
        f"connection_age_max_s = 604800\nconnection_streams_max = 1000000000\n{LIBRARY}"
    )
    monkeypatch.setenv("PRODUCTSEARCH_SETTINGS", str(file))
    read = read_settings(CheckedSettings)
    assert max(int(read.connection_age_max_s * 1000), read.connection_streams_max) < 2**31


def test_an_audit_file_that_is_the_settings_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines would be appended to it, and the next start would fail."""
    file = tmp_path / "settings.toml"
    (told,) = _told(file, f'audit_file = "{file}"\n{LIBRARY}', monkeypatch)
    assert f"audit_file: {file}: holds something else than an audit stream" in told


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("LIBRARIES__DEFAULT__QUOTA_QPS__X", "libraries.default.quota_qps: must be a number"),
        ("LIBRARIES__MY_LIB__QUOTA_QPS", "libraries.my_lib: set credentials_dir, or both"),
        ("LIBRARIES____QUOTA_QPS", "libraries.: must be 1 to 64 characters"),
    ],
)
def test_a_variable_that_goes_too_deep_or_elsewhere_is_named(
    name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the line of the file that has something near."""
    monkeypatch.setenv(f"PRODUCTSEARCH_{name}", "1")
    told = _told(tmp_path / "settings.toml", f"{LIBRARY}quota_qps = 1\n", monkeypatch)
    assert any(one.startswith(says) for one in told)
    assert all(one.endswith(f"(PRODUCTSEARCH_{name})") for one in told)


def test_a_table_of_the_file_is_named_though_a_variable_adds_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing there would stand there."""
    monkeypatch.setenv("PRODUCTSEARCH_LIBRARIES__DEFAULT__QUOTA_QPS", "1")
    file = tmp_path / "settings.toml"
    (told,) = _told(file, '[libraries.default]\nsecret_key = "s"\n', monkeypatch)
    assert told.endswith(f"({file}, line 1)")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PRODUCTSEARCH_POLICY_FILE", "/tmp/\udcff", "PRODUCTSEARCH_POLICY_FILE: is not UTF-8"),
        (
            "productsearch_lisen",
            "127.0.0.1:1",
            "productsearch_lisen: no such setting; did you mean PRODUCTSEARCH_LISTEN?",
        ),
        ("PRODUCTSEARCH_CONFIG", "x", "PRODUCTSEARCH_CONFIG: no such setting"),
    ],
)
def test_variables_that_are_none(
    name: str, value: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that are no text, names that are read whatever their case, and no far-fetched hint."""
    monkeypatch.setenv(name, value)
    (told,) = _told(tmp_path / "settings.toml", LIBRARY, monkeypatch)
    assert told.startswith(says)
    assert "REFLECTION" not in told


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (codecs.BOM_UTF16_LE + LIBRARY.encode("utf-16-le"), "is UTF-16; save it as UTF-8"),
        (LIBRARY.encode() + b"# \xe9\n", "is not UTF-8; save it as such (at line 5)"),
    ],
)
def test_other_encodings_are_told(
    content: bytes, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to do, and the line that has the first such byte."""
    (told,) = _told(tmp_path / "settings.toml", content, monkeypatch)
    assert told.endswith(says)
