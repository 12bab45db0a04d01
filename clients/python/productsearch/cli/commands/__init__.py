"""One module a command, each with ``command``. They import gRPC only when they run."""
