"""What replicas of one service should have in common, as short digests that metrics can show.

Two replicas with the same digests decide alike. No secret and no path goes into one: replicas may
have their files in places of their own.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from productsearch_service.settings import Settings

NONE: Final = "-"
"""The digest of a file that is not set."""
_OWN: Final = frozenset({"listen", "admin_listen", "metrics_listen"})
_DIGITS: Final = 12


def of_settings(settings: Settings) -> str:
    """Return the digest of all settings but addresses to listen at.

    Of a path and a secret it has only whether there is one.
    """
    told = _without_own(settings.model_dump(exclude=set(_OWN)))
    return of_content(json.dumps(told, sort_keys=True, default=str).encode())


def of_content(content: bytes) -> str:
    """Return the digest of a file's content."""
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def _without_own(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_own(each) for name, each in value.items()}
    return "set" if isinstance(value, Path | SecretStr) else value
