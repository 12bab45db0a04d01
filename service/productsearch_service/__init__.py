"""The facade: typed RPCs in, REST form calls out.

Rooms, imports pointing downwards only::

    __main__                          parses, starts, signals
    server                            composes, serves, stops
    building  settings                a library from its settings
    servicer  interceptors            the RPCs; what surrounds each of them
    operations/                       health, readiness, metrics, and the ports for them
    ports                             listening, with TLS
    bulk  validation  libraries  status  admission  draining
    certificates  reloading  logs  affinity
                                      the bounded pipeline; request to checked call; a library's
                                      promises; error to google.rpc.Status; bounds; reloaded
                                      files; the interpreter's core
    access/                           who calls: identity; what they may do: policy
    paging  headers  images  searches
                                      page tokens; a picture's sides; fit; searches answered once
    upstream/                         typed calls over REST
      client  rotation                the four calls; new key pairs
      exchange  issuer                one call: token, slot, POST, answer, again; token endpoint
      gate  retry  pacer  token  transport
      answers  codes  connections  credentials  form
      latency  rate  sealed  punctual  heads
    calls  deadline                   the words of a call; until when
    errors  redaction  preparing      the exception tree; secrets out of text; one large picture at
                                      a time
    limits                            every number, once

The words that all rooms share stand low: ``access.callers``, ``access.addresses``, and the counts
``operations.tally`` and ``operations.vitals``. tests/laws holds this picture, room by room.
"""
