"""Every error code of the engine with its message, and the exception that carries one.

The numbers and texts are the contract's, and two codes are our own. Does not know HTTP:
every answer of a call has status 200, and its body has the code.
"""

from __future__ import annotations

UNKNOWN = 1
UNAVAILABLE = 2
UNSUPPORTED_METHOD = 3
REQUEST_LIMIT = 4
SIGNATURE = 14
DAILY_LIMIT = 17
QPS_LIMIT = 18
TOTAL_LIMIT = 19
TOKEN_MALFORMED = 100
TOKEN_INVALID = 110
TOKEN_EXPIRED = 111
NOT_INITIALIZED = 216017
PARAM_INVALID = 216100
PARAM_MISSING = 216101
PARAM_TOO_LONG = 216103
APP_UNKNOWN = 216110
IMAGE_EMPTY = 216200
IMAGE_FORMAT = 216201
IMAGE_SIZE = 216202
IMAGE_ENCODING = 216203
ITEM_UNKNOWN = 216680
ITEM_EXISTS = 216681
INTERNAL = 282000
URL_ILLEGAL = 282111
URL_TIMEOUT = 282112
URL_REFUSED = 282113
URL_LENGTH = 282114
# The contract has no code for a full library or for another embedding. These numbers are far
# from the vendor's ranges.
LIBRARY_FULL = 990001
EMBEDDING_MISMATCH = 990002

MESSAGES = {
    UNKNOWN: "Unknown error",
    UNAVAILABLE: "Service temporarily unavailable",
    UNSUPPORTED_METHOD: "Unsupported openapi method",
    REQUEST_LIMIT: "Open api request limit reached",
    SIGNATURE: "IAM Certification failed",
    DAILY_LIMIT: "Open api daily request limit reached",
    QPS_LIMIT: "Open api qps request limit reached",
    TOTAL_LIMIT: "Open api total request limit reached",
    TOKEN_MALFORMED: "Invalid parameter",
    TOKEN_INVALID: "Access token invalid or no longer valid",
    TOKEN_EXPIRED: "Access token expired",
    NOT_INITIALIZED: "not initialized",
    PARAM_INVALID: "invalid param",
    PARAM_MISSING: "not enough param",
    PARAM_TOO_LONG: "param too long",
    APP_UNKNOWN: "appid not exist",
    IMAGE_EMPTY: "empty image",
    IMAGE_FORMAT: "image format error",
    IMAGE_SIZE: "image size error",
    IMAGE_ENCODING: "image size error",
    ITEM_UNKNOWN: "item not exist",
    ITEM_EXISTS: "item has existed",
    INTERNAL: "internal error",
    URL_ILLEGAL: "url format illegal",
    URL_TIMEOUT: "url download timeout",
    URL_REFUSED: "url response invalid",
    URL_LENGTH: "url size error",
    LIBRARY_FULL: "library is full",
    EMBEDDING_MISMATCH: "library was built with another embedding",
}

_GATEWAY_CODE_LAST = 111


class ApiError(Exception):
    """An error answer; ``cont_sign`` is that of the stored image if an add is a duplicate."""

    def __init__(self, code: int, message: str | None = None, *, cont_sign: str | None = None):
        self.code = code
        self.message = MESSAGES[code] if message is None else message
        self.cont_sign = cont_sign
        super().__init__(f"{code} {self.message}")

    def answer(self, log_id: int) -> dict[str, object]:
        """Return the JSON object; the gateway's errors (1 to 111) carry no ``log_id``."""
        body: dict[str, object] = {}
        if self.code > _GATEWAY_CODE_LAST:
            body["log_id"] = log_id
        body |= {"error_code": self.code, "error_msg": self.message}
        if self.cont_sign is not None:
            body["cont_sign"] = self.cont_sign
        return body


def missing(name: str) -> ApiError:
    """Return the error of an absent required field, with the vendor's wording."""
    return ApiError(PARAM_MISSING, f"param {name} not exist")


def disk_full() -> ApiError:
    """Return the error of a disk without room: as with a full library, waiting does not help."""
    return ApiError(LIBRARY_FULL, "disk is full")
