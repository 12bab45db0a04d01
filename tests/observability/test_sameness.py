"""Replicas that decide alike have the same digests, and those that do not have others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from productsearch_service.observability import sameness
from productsearch_service.settings import Settings
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream
from tests.lifecycle.asking import until

POLICY = '[[rules]]\ncallers = ["web"]\n'


def _settings(library: dict[str, Any] | None = None, **changes: Any) -> Settings:
    only = {"base_url": "http://127.0.0.1:9", "api_key": "k", "secret_key": "s"}
    told: dict[str, Any] = {"libraries": {"default": only | (library or {})}}
    told |= dict.fromkeys(("listen", "admin_listen", "metrics_listen"), "127.0.0.1:0")
    return Settings(**told | changes)


@pytest.mark.parametrize(
    "other",
    [
        _settings({"api_key": "another", "secret_key": "pair"}),
        _settings(listen="127.0.0.1:1", admin_listen="", metrics_listen="127.0.0.1:2"),
    ],
)
def test_what_is_a_replicas_own_changes_nothing(other: Settings) -> None:
    """Where it listens, and its secrets, of which a digest must not tell."""
    assert sameness.of_settings(_settings()) == sameness.of_settings(other)


def test_places_of_files_change_nothing() -> None:
    """Whether there is one does."""
    digests = [
        sameness.of_settings(_settings(audit_file=path))
        for path in (None, Path("/a/audit"), Path("/b/audit"))
    ]
    assert digests[0] != digests[1] == digests[2]


@pytest.mark.parametrize(
    "other",
    [
        _settings({"quota_qps": 5}),
        _settings({"base_url": "http://127.0.0.1:10"}),
        _settings({"search_cache_ttl_s": 5}),
        _settings(replicas=2),
        _settings(log_level="DEBUG"),
    ],
)
def test_what_a_replica_does_otherwise_is_another_digest(other: Settings) -> None:
    """Of a library as of the whole."""
    assert sameness.of_settings(_settings()) != sameness.of_settings(other)


def test_the_policy_in_use_has_a_digest(upstream: FakeUpstream, tmp_path: Path) -> None:
    """It changes when a new one is in use."""
    file = tmp_path / "policy.toml"
    file.write_text(POLICY)
    settings = _settings({"base_url": upstream.url}, policy_file=file, tls_poll_s=0.05)
    server = Server(settings, with_admin=True)
    server.start()
    try:
        assert _policies(server) == {sameness.of_content(POLICY.encode())}
        new = POLICY.replace("web", "shop")
        file.write_text(new)
        until(lambda: _policies(server) == {sameness.of_content(new.encode())}, "the new policy")
    finally:
        server.stop()


def _policies(server: Server) -> set[str]:
    return {
        sample.labels["policy"]
        for metric in server.service._counters.registry.collect()
        for sample in metric.samples
        if sample.name == "productsearch_settings_info"
    }
