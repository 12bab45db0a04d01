"""HTTP to the upstream: the only folder that imports aiohttp's client."""
