"""The access token: fetched with the library's key pair, shared by all calls, renewed in time."""
