"""Wrong settings are told by name, in sentences of ours that say what would be right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from productsearch_service import cli
from productsearch_service.settings_reading import SettingsError, read_settings
from tests.identity.authority import Authority, ServerFiles

LIBRARY = 'base_url = "http://127.0.0.1:9"\napi_key = "k"\nsecret_key = "s"\n'
WRONG: dict[str, tuple[str, str]] = {
    "a missing table": ("", "libraries: is missing; set it"),
    "no library": ("[libraries]\n", "libraries: must have at least one entry"),
    "an unknown setting": (
        f"lisen = 1\n[libraries.default]\n{LIBRARY}",
        "lisen: is not a setting; remove it, or correct its name; did you mean listen?",
    ),
    "a setting of a library nearly, above it": (
        f"quota = 1\n[libraries.default]\n{LIBRARY}",
        "quota: is not a setting; remove it, or correct its name; did you mean quota_qps below "
        "[libraries.NAME]?",
    ),
    "a port out of range": (
        f'listen = "127.0.0.1:70000"\n[libraries.default]\n{LIBRARY}',
        "listen: the port must be 0 to 65535, not '127.0.0.1:70000'",
    ),
    "a setting of a library nearly": (
        f"[libraries.default]\n{LIBRARY}quota_qs = 1\n",
        "libraries.default.quota_qs: is not a setting; remove it, or correct its name; "
        "did you mean quota_qps?",
    ),
    "an unknown setting of a library": (
        f"[libraries.default]\n{LIBRARY}qps = 1\n",
        "libraries.default.qps: is not a setting; remove it, or correct its name",
    ),
    "a library's name": (
        f'default_library = "a"\n[libraries."No Name"]\n{LIBRARY}',
        "libraries.No Name: must be 1 to 64 characters of a-z, 0-9, '.', '_' and '-', of which the "
        "first is a letter or a digit",
    ),
    "no number": (
        f'[libraries.default]\n{LIBRARY}quota_qps = "many"\n',
        "libraries.default.quota_qps: must be a number, not 'many'",
    ),
    "no whole number": (
        f"replicas = 1.5\n[libraries.default]\n{LIBRARY}",
        "replicas: must be a whole number, not 1.5",
    ),
    "too small": (
        f"replicas = 0\n[libraries.default]\n{LIBRARY}",
        "replicas: must be 1 or more, not 0",
    ),
    "not above": (
        f"[libraries.default]\n{LIBRARY}connect_timeout_s = 0\n",
        "libraries.default.connect_timeout_s: must be greater than 0, not 0",
    ),
    "no truth": (
        f'reflection = "perhaps"\n[libraries.default]\n{LIBRARY}',
        "reflection: must be true or false, not 'perhaps'",
    ),
    "no text": (f"listen = 5\n[libraries.default]\n{LIBRARY}", "listen: must be text, not 5"),
    "another level": (
        f'log_level = "LOUD"\n[libraries.default]\n{LIBRARY}',
        "log_level: must be one of 'DEBUG', 'INFO', 'WARNING' or 'ERROR', not 'LOUD'",
    ),
    "no network": (
        f'sidecars = ["here"]\n[libraries.default]\n{LIBRARY}',
        "sidecars, entry 1: must be an IP network without host bits, such as 10.0.0.0/8, not "
        "'here'",
    ),
    "no list": (
        f"sidecars = 5\n[libraries.default]\n{LIBRARY}",
        "sidecars: must be a list, not 5",
    ),
    "no directory": (
        '[libraries.default]\ncredentials_dir = "not-there"\n',
        "libraries.default.credentials_dir: must be the path of a directory that exists, not "
        "'not-there'",
    ),
    "no file": (
        f'[libraries.default]\n{LIBRARY}ca_bundle = "not-there"\n',
        "libraries.default.ca_bundle: must be the path of a file that exists, not 'not-there'",
    ),
    "no table": ("libraries = 5\n", "libraries: must be a table, not 5"),
    "a library that is no table": (
        "[libraries]\ndefault = 5\n",
        "libraries.default: must be a table, not 5",
    ),
    "a setting of the top below a table": (
        f'[libraries.default]\n{LIBRARY}listen = "127.0.0.1:1"\n',
        "libraries.default.listen: is not a setting; remove it, or correct its name; it belongs "
        "above the first [table] of the file",
    ),
    "a setting of a library at the top": (
        f"quota_qps = 1\n[libraries.default]\n{LIBRARY}",
        "quota_qps: is not a setting; remove it, or correct its name; it belongs below "
        "[libraries.NAME]",
    ),
    "a setting in the table of all libraries": (
        '[libraries]\ncredentials_dir = "/"\n',
        "libraries.credentials_dir: is a setting of one library: write it below [libraries.NAME]",
    ),
    "no number that counts": (
        f"[libraries.default]\n{LIBRARY}quota_qps = inf\n",
        "libraries.default.quota_qps: must be a finite number, not inf",
    ),
    "true as a number": (
        f"replicas = true\n[libraries.default]\n{LIBRARY}",
        "replicas: must be a number, not true or false",
    ),
    "one port for two": (
        f'listen = "127.0.0.1:9464"\n[libraries.default]\n{LIBRARY}',
        "metrics_listen: has the port of listen; give it one of its own",
    ),
    "open to the network": (
        f'listen = "shop.example:1"\n[libraries.default]\n{LIBRARY}',
        "listen: is open to the network and nobody is asked who calls: set policy_file or "
        "tls_client_ca_file, or open_to_network if a mesh guards it",
    ),
    **{
        f"an upstream {url}": (
            f"[libraries.default]\n{LIBRARY.replace('http://127.0.0.1:9', url)}",
            "libraries.default.base_url: must be https://host[:port], the port 1 to 65535, without "
            "a query and blanks",
        )
        for url in (
            "https://a:99999",
            "https://a:abc",
            "https://[::1",
            "https://a b",
            " https://a ",
            "https://a#x",
            "https://",
            "ftp://a",
            "https://a:0",
        )
    },
    "a collector without its path": (
        f'traces_endpoint = "http://127.0.0.1:4318"\n[libraries.default]\n{LIBRARY}',
        "traces_endpoint: must be http://host:port/v1/traces, without a user and a query",
    ),
    "a collector's port": (
        f'traces_endpoint = "http://a:99999/v1/traces"\n[libraries.default]\n{LIBRARY}',
        "traces_endpoint: must be http://host:port/v1/traces, without a user and a query",
    ),
    "certificates that are none": (
        f'[libraries.default]\n{LIBRARY}ca_bundle = "{__file__}"\n',
        f"libraries.default.ca_bundle: {__file__}: holds no PEM certificates",
    ),
    "a path that is empty": (
        f'policy_file = ""\n[libraries.default]\n{LIBRARY}',
        "policy_file: is empty; leave it out, or give a path",
    ),
    "a pause above the longest": (
        f"[libraries.default]\n{LIBRARY}breaker_open_s = 9\n",
        "libraries.default.breaker_open_max_s: must be breaker_open_s or more, which is 9",
    ),
}


@pytest.mark.parametrize(("content", "says"), WRONG.values(), ids=WRONG)
def test_wrong_settings(
    content: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line names the setting, what was found, and what would be right."""
    file = tmp_path / "settings.toml"
    file.write_text(content)
    monkeypatch.setenv("PRODUCTSEARCH_SETTINGS", str(file))
    with pytest.raises(SettingsError) as wrong:
        read_settings()
    assert says in [line.partition(f" ({file}")[0] for line in str(wrong.value).splitlines()]


@pytest.mark.parametrize("name", ["quota_qps", "base_url", "upstream", "key_pair_ends"])
def test_what_may_be_a_secret_is_not_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key in the wrong place; keys of the upstream have 24 characters and more."""
    secret = "kX3vQ9mZ7tR2wL5pN8bY4cJ6"
    file = tmp_path / "settings.toml"
    file.write_text(f'[libraries.default]\n{name} = "{secret}"\napi_key = "k"\nsecret_key = "s"\n')
    monkeypatch.setenv("PRODUCTSEARCH_SETTINGS", str(file))
    with pytest.raises(SettingsError) as wrong:
        read_settings()
    assert f"libraries.default.{name}: must be" in str(wrong.value)
    assert secret not in str(wrong.value)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (f"# c\nreplica = 2\n[libraries.default]\n{LIBRARY}", "2: replica: is not a setting"),
        (f"\n\nlisten = 5\n[libraries.default]\n{LIBRARY}", "3: listen: must be text"),
        (f"[libraries.default]\n{LIBRARY}quota_qps = -1\n", "5: libraries.default.quota_qps:"),
        (f'[libraries.default]\n{LIBRARY}[libraries."b"]\nqps=1\n', "6: libraries.b.qps: is not"),
        (f"libraries.a.qps = 1\n[libraries.default]\n{LIBRARY}", "1: libraries.a.qps: is not"),
        ('sidecars = [\n "10.0.0.0/8",\n]\nreplicas = 0\n', "4: replicas: must be 1 or more"),
        ('policy_file = """\nreplicas = 1\n"""\nreplicas = 0\n', "4: replicas: must be 1"),
        ("[libraries.default]\n", "1: libraries.default: set credentials_dir"),
        ("[[libraries]]\nx = 1\n", "1: libraries: must be a table"),
    ],
)
def test_wrong_settings_have_their_line(
    content: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the file, or the nearest table around what is missing."""
    file = tmp_path / "settings.toml"
    file.write_text(content)
    monkeypatch.setenv("PRODUCTSEARCH_SETTINGS", str(file))
    with pytest.raises(SettingsError) as wrong:
        read_settings()
    number, _, says = line.partition(": ")
    told = [one for one in str(wrong.value).splitlines() if one.startswith(says)]
    assert [f"({file}, line {number})"] == [one[-len(f"({file}, line {number})") :] for one in told]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "LISTEN",
            "127.0.0.1:70000",
            "listen: the port must be 0 to 65535, not '127.0.0.1:70000' (PRODUCTSEARCH_LISTEN)",
        ),
        (
            "LIBRARIES__DEFAULT__QUOTA_QPS",
            "many",
            "libraries.default.quota_qps: must be a number, not 'many' "
            "(PRODUCTSEARCH_LIBRARIES__DEFAULT__QUOTA_QPS)",
        ),
        ("REPLICAS", "", "PRODUCTSEARCH_REPLICAS: is empty; unset it, or give it a value"),
        ("POLICY_FILE", "", "PRODUCTSEARCH_POLICY_FILE: is empty; unset it, or give it a value"),
    ],
)
def test_what_a_variable_has_wrong_is_not_sought_in_the_file(
    name: str, value: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable wins over the file, and is named where both have the setting."""
    file = tmp_path / "settings.toml"
    file.write_text(f'listen = "127.0.0.1:1"\nreplicas = 1\n[libraries.default]\n{LIBRARY}')
    monkeypatch.setenv("PRODUCTSEARCH_SETTINGS", str(file))
    monkeypatch.setenv(f"PRODUCTSEARCH_{name}", value)
    with pytest.raises(SettingsError) as wrong:
        read_settings()
    assert [says] == str(wrong.value).splitlines()


def test_toml_errors_have_their_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and the line are named."""
    file = tmp_path / "settings.toml"
    file.write_text('listen = "127.0.0.1:1"\nreplicas == 2\n')
    monkeypatch.setenv("PRODUCTSEARCH_SETTINGS", str(file))
    with pytest.raises(SettingsError, match=r"settings.toml: is not TOML: .*line 2"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "LIBRARY__DEFAULT__QUOTA_QPS",
            "3",
            "PRODUCTSEARCH_LIBRARY__DEFAULT__QUOTA_QPS: no such setting; did you mean "
            "PRODUCTSEARCH_LIBRARIES__DEFAULT__QUOTA_QPS?",
        ),
        (
            "LIBRARIES_DEFAULT_QUOTA_QPS",
            "3",
            "PRODUCTSEARCH_LIBRARIES_DEFAULT_QUOTA_QPS: no such setting; did you mean "
            "PRODUCTSEARCH_LIBRARIES__DEFAULT__QUOTA_QPS?",
        ),
        ("LISEN", "x", "PRODUCTSEARCH_LISEN: no such setting; did you mean PRODUCTSEARCH_LISTEN?"),
        ("SIDECARS", "here", 'PRODUCTSEARCH_SIDECARS: must be JSON: a list such as ["10.0.0.0/8"]'),
    ],
)
def test_wrong_variables(name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named, and the nearest right one."""
    monkeypatch.setenv(f"PRODUCTSEARCH_{name}", value)
    with pytest.raises(SettingsError) as wrong:
        read_settings()
    assert says in str(wrong.value).splitlines()


def test_a_settings_file_is_checked_without_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`settings check` exits 0, 1 or 2 with what is wrong; `--version` prints one line."""
    file = tmp_path / "settings.toml"
    monkeypatch.setenv("PRODUCTSEARCH_SETTINGS", "")
    for content, code in (
        (f"[libraries.default]\n{LIBRARY}", 0),
        (f'[libraries.default]\ncredentials_dir = "{tmp_path}"\n', 1),
        ("replicas = 0\n", 2),
    ):
        file.write_text(content)
        monkeypatch.setattr("sys.argv", ["productsearch-service", "settings", "check", str(file)])
        assert code == cli.main()
    assert "replicas: must be 1 or more" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["productsearch-service", "--version"])
    assert 0 == cli.main()
    assert capsys.readouterr().out.startswith("productsearch-service ")


def test_lines_stand_in_the_order_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a variable has wrong comes first; a missing table is shown."""
    file = tmp_path / "settings.toml"
    monkeypatch.setenv("PRODUCTSEARCH_SETTINGS", str(file))
    monkeypatch.setenv("PRODUCTSEARCH_TLS_POLL_S", "never")
    file.write_text(
        f"drain_grace_s = -1\nlisen = 1\nreplicas = 0\nlisten = 5\n[libraries.default]\n{LIBRARY}"
        "quota_qps = -1\nconnect_timeout_s = 0\n"
    )
    with pytest.raises(SettingsError) as wrong:
        read_settings()
    told = [line.rpartition(" (")[2].rpartition(" ")[2] for line in str(wrong.value).splitlines()]
    assert ["PRODUCTSEARCH_TLS_POLL_S)", "1)", "2)", "3)", "4)", "9)", "10)"] == told
    monkeypatch.delenv("PRODUCTSEARCH_TLS_POLL_S")
    file.write_text("replicas = 1\n")
    with pytest.raises(SettingsError) as wrong:
        read_settings()
    first, *table = str(wrong.value).splitlines()
    assert f"libraries: is missing; set it ({file})" == first
    (tmp_path / "productsearch" / "default").mkdir(parents=True)
    file.write_text("\n".join(table).replace("/run/secrets", str(tmp_path)))
    assert {"default"} == {*read_settings().libraries}


def _pydantics_words(content: Any) -> bool:
    return any(word in content for word in ("Input should", "Field required", "inputs are not"))


def test_no_words_of_the_library_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting with a value of each wrong kind: every line is ours."""
    from productsearch_service.settings import Settings
    from productsearch_service.settings_library import LibrarySettings

    file = tmp_path / "settings.toml"
    monkeypatch.setenv("PRODUCTSEARCH_SETTINGS", str(file))
    for value in ("5", "-5", '"x"', "[5]", "{ a = 5 }", "2000-01-01", "nan"):
        lines = [f"{name} = {value}" for name in Settings.model_fields if name != "libraries"]
        lines += ["[libraries.default]", *(f"{n} = {value}" for n in LibrarySettings.model_fields)]
        file.write_text("\n".join(lines))
        with pytest.raises(SettingsError) as wrong:
            read_settings()
        assert [] == [line for line in str(wrong.value).splitlines() if _pydantics_words(line)]


def test_the_settings_for_production_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`settings check` takes them as they stand there, but for the folders, and warns of nothing
    but the short life of the tests' certificates."""
    page = Path(__file__).resolve().parents[2] / "docs/operating.md"
    section = page.read_text("utf-8").partition("\n## Settings for production")[2]
    told = section.partition("```toml\n")[2].partition("```")[0]
    file = tmp_path / "settings.toml"
    file.write_text(re.sub(r"/(etc|var/lib)/productsearch", str(tmp_path), told))
    ServerFiles(tmp_path / "tls", Authority())
    (tmp_path / "default").mkdir()
    for name in ("api_key", "secret_key"):
        (tmp_path / "default" / name).write_text(f"the-{name}")
    (tmp_path / "policy.toml").write_text('[[rules]]\ncallers = ["spiffe://shop/web"]\n')
    monkeypatch.setattr("sys.argv", ["productsearch-service", "settings", "check", str(file)])
    monkeypatch.setenv("PRODUCTSEARCH_SETTINGS", "")
    assert 1 == cli.main()  # because of that warning
    *warnings, last = capsys.readouterr().out.splitlines()
    assert f"{file}: the service can start with it" == last
    assert [] == [line for line in warnings if "a certificate ends in 0 days" not in line]
    for name in ("log_format", "audit_file", "key_pair_ends", "tls_cert_file", "policy_file"):
        assert f"\n{name} = " in told
