"""Puts the service together and runs it.

``compose`` builds the parts and opens the ports, ``libraries`` the parts of each library ·
``listen`` gives ports TLS and says why one cannot be opened · ``certificates`` and ``files`` check
what settings name · ``reload`` takes over changed files · ``drain`` stops without failing a call ·
``doctor`` checks all that the service needs.
"""
