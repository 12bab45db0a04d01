"""Puts the service together and runs it.

``compose`` builds the parts and opens the ports · ``listen`` gives them TLS and says why one cannot
be opened · ``certificates`` and ``files`` check what settings name · ``reload`` takes over changed
files · ``drain`` stops without failing a call.
"""
