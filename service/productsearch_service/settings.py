"""Every setting of the service, with its default and what it has to be.

Those of one library stand in ``settings_library``.
``settings_reading`` fills them from one TOML file and the environment.
"""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from productsearch_service import limits
from productsearch_service.settings_library import LibrarySettings
from productsearch_service.settings_values import (
    Address,
    Count,
    Interval,
    LibraryName,
    Network,
    Number,
    OptionalAddress,
    PathGiven,
    Seconds,
    host_and_port,
    is_loopback,
    url_parts,
    warns_of_no_effect,
)

PREFIX: Final = "PRODUCTSEARCH_"
FILE_VARIABLE: Final = "PRODUCTSEARCH_SETTINGS"
_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http"


def _same_port(one: str, other: str) -> bool:
    (host, port), (other_host, other_port) = host_and_port(one), host_and_port(other)
    meets = host == other_host or not (host.strip("0.:") and other_host.strip("0.:"))
    return bool(port and port == other_port and meets)


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _collector(value: str) -> str:
    """Check the URL of a collector; its user and password would be logged, so it has none."""
    if not value:
        return value
    parts = url_parts(value)
    sound = parts is not None and not parts.query and parts.path.strip("/")
    if not sound:
        raise ValueError("must be http://host:port/v1/traces, without a user and a query")
    with suppress(ModuleNotFoundError):
        if find_spec(_EXPORTER) is not None:
            return value
    raise ValueError("needs OpenTelemetry: pip install './service[traces]'")


class Settings(BaseSettings):
    """What the operator says."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    libraries: Annotated[dict[LibraryName, LibrarySettings], Field(min_length=1)]
    default_library: Annotated[LibraryName, Field(validate_default=True)] = "default"
    replicas: Count = 1
    """Replicas that share the quota of the libraries."""

    listen: Address = "127.0.0.1:50051"
    """Address and port of the gRPC service; port 0 takes a free one."""
    admin_listen: OptionalAddress = "127.0.0.1:50052"
    """The same for health, reflection and channelz by gRPC; empty: none. Plaintext."""
    metrics_listen: OptionalAddress = "127.0.0.1:9464"
    """The same for metrics and probes by HTTP; empty: none. Plaintext."""
    reflection: bool = False
    """Answer gRPC reflection on ``listen`` too."""

    tls_cert_file: PathGiven | None = None
    """Certificate chain for ``listen``, PEM; None: plaintext."""
    tls_key_file: Annotated[PathGiven | None, Field(validate_default=True)] = None
    tls_client_ca_file: Annotated[PathGiven | None, Field(validate_default=True)] = None
    """CA certificates of the callers, PEM; None: callers need no certificate."""
    tls_poll_s: Interval = 1.0
    """Seconds between two looks for changed certificates and a changed policy."""
    sidecars: tuple[Network, ...] = ()
    """Addresses from which x-forwarded-client-cert is believed."""
    policy_file: PathGiven | None = None
    """Who may do what (see policy); None: everyone who can connect may do everything."""
    open_to_network: Annotated[bool, Field(validate_default=True)] = False
    """Lets the service listen beyond this machine without mTLS and without a policy."""

    receive_timeout_s: Annotated[Seconds, Field(gt=0)] = limits.RECEIVE_TIMEOUT_S
    """Seconds that the message of a call may take to arrive."""
    bulk_silence_s: Annotated[Seconds, Field(gt=0)] = limits.BULK_SILENCE_S
    """Seconds of silence after which a bulk stream gives way to a new one, if places are short;
    after as many one of several of a caller gives way to a caller that has none."""
    connections_max: Count = limits.CONNECTIONS_MAX
    """Connections to ``listen``; further ones are closed."""
    connection_streams_max: Count = limits.CONNECTION_STREAMS_MAX
    """Calls of one connection at the same time; its client keeps further ones waiting."""
    connection_age_max_s: Annotated[Seconds, Field(ge=0)] = 0.0
    """Seconds after which a connection is asked to end; 0: never."""
    drain_delay_s: Annotated[Seconds, Field(ge=0)] = 10.0
    """Seconds of going on after a stop was asked for and health says so."""
    drain_grace_s: Annotated[Seconds, Field(ge=0)] = 20.0
    """Seconds that calls under way then have left."""
    one_core: Annotated[bool | None, warns_of_no_effect("leave it out")] = None
    """Has no effect any more: there is one event loop. Read for one release."""
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = (
        "INFO"
    )
    log_format: Literal["auto", "json", "text"] = "auto"
    """How lines of the log are written; auto: text at a terminal, JSON elsewhere."""
    audit_file: PathGiven | None = None
    """Where each write gets a line: who, what, when, and what came of it; None: nowhere."""
    old_metric_names: bool = False
    """Also count RPCs under the metric names of the release before. Read for one release."""
    access_log_successes: Annotated[Number, Field(ge=0, le=1)] = 1.0
    """The share of successful RPCs that get an access line; each failed one gets its line."""

    traces_endpoint: Annotated[str, AfterValidator(_collector)] = ""
    """Where traces go: the URL of a collector that takes OTLP over HTTP, such as
    http://127.0.0.1:4318/v1/traces; empty: there are none. Needs the extra ``traces``."""
    traces_share: Annotated[Number, Field(ge=0, le=1)] = 0.01
    """The share of RPCs without a trace of their caller's that is recorded; the others do as the
    caller's trace says."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env files here
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - read by us, as a pair
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file."""
        file = os.environ.get(FILE_VARIABLE)
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, Path(file) if file else None),
        )

    # What concerns two settings is checked at the later one: so all wrong ones are told at once.

    @field_validator("default_library")
    @classmethod
    def _default_exists(cls, value: str, info: ValidationInfo) -> str:
        if value not in info.data.get("libraries", (value,)):
            raise ValueError("must be one of libraries")
        return value

    @field_validator("admin_listen", "metrics_listen")
    @classmethod
    def _port_of_its_own(cls, value: str, info: ValidationInfo) -> str:
        for other in ("listen", "admin_listen"):
            taken = info.data.get(other)
            if taken and value and _same_port(value, taken):
                raise ValueError(f"has the port of {other}; give it one of its own")
        return value

    @field_validator("tls_key_file")
    @classmethod
    def _certificate_and_key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if "tls_cert_file" not in info.data:  # it is wrong by itself, and told
            return value
        if (info.data["tls_cert_file"] is None) != (value is None):
            raise ValueError("set tls_cert_file and tls_key_file together, or neither")
        return value

    @field_validator("tls_client_ca_file")
    @classmethod
    def _client_ca(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("tls_cert_file", value) is None:
            raise ValueError("needs tls_cert_file and tls_key_file")
        return value

    @field_validator("open_to_network")
    @classmethod
    def _not_open_by_accident(cls, value: bool, info: ValidationInfo) -> bool:
        asks = info.data.get("policy_file", ...) or info.data.get("tls_client_ca_file", ...)
        host = host_and_port(info.data.get("listen", "localhost:0"))[0]
        if not (value or asks or is_loopback(host)):
            raise ValueError(
                "listen is open to the network and nobody is asked who calls: "
                "set policy_file or tls_client_ca_file, or open_to_network if a mesh guards it"
            )
        return value
