"""The settings with the files that they name: read and checked before anything is started."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationInfo, field_validator

from productsearch_service.server.certificates import (
    CertificateFiles,
    check_certificate,
    check_client_ca,
    read_file,
)
from productsearch_service.settings import Settings


class CheckedSettings(Settings):
    """Settings whose certificate, key, CA, policy and audit files can be used."""

    @field_validator("tls_cert_file")
    @classmethod
    def _certificate_content(cls, value: Path | None) -> Path | None:
        if value is not None:
            check_certificate(value, read_file(value))
        return value

    @field_validator("tls_key_file")
    @classmethod
    def _certificate_of_key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        certificate = info.data.get("tls_cert_file")
        if certificate is not None and value is not None:
            files = CertificateFiles(certificate, value)
            files.check(files.read())
        return value

    @field_validator("tls_client_ca_file")
    @classmethod
    def _client_ca_content(cls, value: Path | None) -> Path | None:
        if value is not None:
            check_client_ca(value, read_file(value))
        return value

    @field_validator("policy_file")
    @classmethod
    def _policy_content(cls, value: Path | None) -> Path | None:
        if value is not None:
            # Imported here: its models take the doctor a tenth of its time.
            from productsearch_service.identity.policy import Policy, PolicyError, read_content

            try:
                Policy.parse(read_content(value))
            except PolicyError as error:
                lines = [f"{value}: {line}" for line in str(error).splitlines()]
                raise ValueError("\n".join(lines)) from None
        return value

    @field_validator("audit_file")
    @classmethod
    def _can_be_appended_to(cls, value: Path | None) -> Path | None:
        if value is None:
            return value
        if value.is_dir():
            raise ValueError(f"{value}: is a directory, not a file")
        if not value.absolute().parent.is_dir():
            raise ValueError(f"{value}: no such directory: {value.absolute().parent}; make it")
        if not os.access(value if value.exists() else value.absolute().parent, os.W_OK):
            raise ValueError(f"{value}: cannot be written by user {os.geteuid()}")
        return value
