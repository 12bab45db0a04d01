"""The settings of one library: where its upstream is, its key pair, its quota and its limits."""

from __future__ import annotations

import ssl
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    DirectoryPath,
    Field,
    FilePath,
    ValidationInfo,
    field_validator,
    model_validator,
)

from productsearch_service import limits
from productsearch_service.settings_values import (
    Count,
    Interval,
    Key,
    Quota,
    Seconds,
    Whole,
    is_loopback,
    named,
    url_parts,
    warns_of_no_effect,
)


class LibrarySettings(BaseModel):
    """One library: where its upstream is, its key pair and its quota."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    base_url: str = "https://aip.baidubce.com"
    """Scheme and host of the upstream; http only to this machine."""
    upstream: Literal["vendor", "engine"] = "vendor"
    """What answers there. Only the engine takes ``region`` and ``rerank``: the vendor's cloud would
    ignore them and answer as if they had not been sent, so for it they are FIELD_INVALID."""
    send_trace: bool | None = None
    """Send ``traceparent`` there, the trace that a call belongs to; None: to the engine only."""
    credentials_dir: Annotated[DirectoryPath, BeforeValidator(named)] | None = None
    """Directory with the files api_key and secret_key."""
    api_key: Key | None = None
    secret_key: Key | None = None
    """The pair itself, for trying out; files are for everything else."""
    key_pair_ends: date | None = None
    """The day, such as 2027-01-31, from which the key pair is not to be used any more."""
    credentials_poll_s: Interval = limits.CREDENTIALS_POLL_S
    """Seconds between two looks for a new pair in credentials_dir."""
    ca_bundle: Annotated[FilePath, BeforeValidator(named)] | None = None
    """Certificates to trust instead of certifi's, PEM."""
    quota_qps: Quota = 10.0
    """Calls per second of the key; 0: no quota."""
    search_cache_ttl_s: Annotated[Seconds, Field(ge=0)] = 0.0
    """Seconds that an identical search is answered from memory; 0: never. A write empties the cache
    of the replica that made it; other replicas show their cached pages until these seconds end."""
    search_cache_bytes: Annotated[Whole, Field(ge=1, le=limits.SETTING_BYTES_MAX)] = (
        limits.SEARCH_CACHE_BYTES
    )
    """Memory for cached pages, in bytes; the least recently used ones make room."""
    search_cache_entries: Annotated[
        Whole | None, Field(ge=1), warns_of_no_effect("set search_cache_bytes")
    ] = None
    """Has no effect any more: the cache is bounded by search_cache_bytes. Read for one release."""

    connect_timeout_s: Annotated[Seconds, Field(gt=0)] = limits.CONNECT_TIMEOUT_S
    """Seconds for a new connection to the upstream, TLS included."""
    send_stall_timeout_s: Annotated[Seconds, Field(gt=0)] = limits.SEND_STALL_TIMEOUT_S
    """Seconds that sending a request may stand still; a slow line that moves has the deadline."""
    read_timeout_s: Annotated[Seconds, Field(gt=0)] = limits.READ_TIMEOUT_S
    """Seconds from the end of a request to the end of its answer."""
    call_timeout_s: Annotated[Seconds, Field(gt=0)] = limits.CALL_CAP_S
    """Seconds for one call of the upstream with its waits and retries; the caller's deadline may
    end it before."""
    attempts_max: Count = limits.ATTEMPTS_MAX
    """Attempts of one call, the first one included."""
    breaker_failures: Count = limits.BREAKER_FAILURES
    """Failures of the upstream in a row that open the circuit breaker."""
    breaker_open_s: Annotated[Seconds, Field(gt=0)] = limits.BREAKER_FIRST_S
    """Seconds from opening to the first probe; doubles with each failed probe."""
    breaker_open_max_s: Annotated[Seconds, Field(gt=0, validate_default=True)] = (
        limits.BREAKER_MAX_S
    )
    """Longest time between two probes, in seconds; breaker_open_s or more."""

    @field_validator("base_url")
    @classmethod
    def _no_secret_over_plain_http(cls, value: str) -> str:
        if "@" in value:
            raise ValueError("must not hold a user or a password")
        parts = url_parts(value)
        if parts is None or "?" in value:
            raise ValueError(
                "must be https://host[:port], the port 1 to 65535, without a query and blanks"
            )
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ValueError("must be https: http is for this machine only, it carries secrets")
        return value

    @field_validator("ca_bundle")
    @classmethod
    def _certificates(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                ssl.create_default_context(cafile=value)
            except (ssl.SSLError, OSError):
                raise ValueError(f"{value}: holds no PEM certificates") from None
        return value

    @field_validator("breaker_open_max_s")
    @classmethod
    def _longest_is_not_shorter(cls, value: float, info: ValidationInfo) -> float:
        first_s = info.data.get("breaker_open_s", value)
        if first_s > value:
            raise ValueError(f"must be breaker_open_s or more, which is {first_s:g}")
        return value

    @model_validator(mode="after")
    def _one_key_pair(self) -> LibrarySettings:
        pair = (self.api_key is not None, self.secret_key is not None)
        if any(pair) and self.credentials_dir is not None:
            raise ValueError("set either credentials_dir or api_key and secret_key, not both")
        if not all(pair) and self.credentials_dir is None:
            raise ValueError("set credentials_dir, or both api_key and secret_key")
        return self
