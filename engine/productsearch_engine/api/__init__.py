"""The REST contract: from an HTTP request to one call on the store, and back to JSON.

A request passes ``app`` (routes, error boundary), ``auth`` (token), ``in_flight`` and ``shares``
(its app's part of calls and memory), ``bodies`` (size, time), ``forms`` (fields), ``parameters``
(typed request) and ``calls`` (the answer).
``codes`` holds the contract's error codes.

Knows the contract's fields, codes and texts. Does not know how an image is decoded, how a
vector is made, or which SQL runs. Nothing below this folder knows an error code.
"""
