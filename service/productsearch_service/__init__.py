"""The facade: typed RPCs in, REST form calls out.

Rooms, imports pointing downwards only::

    __main__                      parses, starts
    server                        composes, health, reflection, drain
    servicer  bulk                validate, call, reply
    interceptors                  error boundary, access log, identity and policy, admission
    validation  paging  images    request to checked call
    libraries  searches           a library's parts; searches answered once
    upstream/                     typed calls over REST, tokens, quota, retries
    status                        error to google.rpc.Status
    settings  policy              what the operator says
    errors  deadline  calls       the exception tree; time left; the words of a call
    limits                        every number, once
"""
