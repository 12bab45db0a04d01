"""The facade: typed RPCs in, REST form calls out.

Rooms, imports pointing downwards only::

    __main__                          parses, starts, signals
    server                            composes, serves, stops
    admin  building  metrics  settings
                                      the ports beside; a library from its settings; the numbers
    health  scraping                  grpc.health.v1; /metrics and probes over HTTP
    servicer  interceptors            the RPCs; what surrounds each of them
    identity  ports  readiness        who calls; listening, with TLS; whether calls should come
    bulk  validation  libraries  status  admission  draining  policy
    certificates  reloading  rpcs  logs
                                      the bounded pipeline; request to checked call; a library's
                                      promises; error to google.rpc.Status; bounds; who may what;
                                      files that change; counts
    paging  images  searches          page tokens; headers and fit; searches answered once
    upstream/                         typed calls over REST
      client  rotation                the four calls; new key pairs
      exchange  issuer                one call: token, slot, POST, answer, again; token endpoint
      gate  retry  pacer  token  transport
      answers  codes  connections  credentials  form
      latency  rate  sealed  punctual
    calls  callers  deadline          the words of a call; who asks; until when
    addresses  forwarded              hosts, peers, networks; x-forwarded-client-cert
    tally  vitals                     counts by key; how a library is doing
    errors  redaction                 the exception tree; secrets out of text
    limits                            every number, once
"""
