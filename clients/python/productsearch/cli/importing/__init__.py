"""Imports a source: what is left is read, sent as fast as the service takes it, and journalled."""
