"""One image library: its calls, with what the RPCs promise beyond REST.

``commands`` are what a caller wants done · ``library`` does it · ``search_cache`` answers identical
searches once. Knows no gRPC and no generated code.
"""
