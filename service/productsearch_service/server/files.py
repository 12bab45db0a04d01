"""The settings with the files that they name: read and checked before anything is started."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationInfo, field_validator

from productsearch_service.audit import wrong_content
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
        try:
            wrong = _why_not_appended_to(value.absolute())
        except OSError as error:
            wrong = str(error.strerror)
        if wrong:
            raise ValueError(f"{value}: {wrong}")
        return value


def _why_not_appended_to(file: Path) -> str:
    """Return why the audit stream cannot go on in a file, nothing if it can; raise OSError."""
    if file.is_dir():
        return "is a directory, not a file"
    if not file.parent.is_dir():
        return f"no such directory: {file.parent}; make it"
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        return f"cannot be written by user {os.geteuid()}"
    if file.exists() and not file.is_file():
        return "is no ordinary file"
    return wrong_content(file)
