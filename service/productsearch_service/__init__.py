"""The facade: typed RPCs in, REST form calls out.

Rooms, imports pointing downwards only::

    __main__                          parses, starts
    server                            composes, health, reflection, stop
    servicer  interceptors            the RPCs; what surrounds each of them
    bulk  validation  libraries  status  admission  draining  policy  settings  logs
                                      the bounded pipeline; request to checked call; a library's
                                      promises; error to google.rpc.Status; bounds; who may what
    paging  images  searches          page tokens; headers and fit; searches answered once
    upstream/                         typed calls over REST
      client  rotation                the four calls; new key pairs
      exchange  issuer                one call: token, slot, POST, answer, again; token endpoint
      gate  retry  pacer  token  transport
      answers  codes  connections  credentials  form
      latency  rate  sealed  punctual
    calls  callers  deadline          the words of a call; who asks; until when
    errors  redaction                 the exception tree; secrets out of text
    limits                            every number, once
"""
