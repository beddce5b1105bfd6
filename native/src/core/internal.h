/* internal.h: all of the core, for its own files. What they tell each other stands in:
 *
 *   memory.h    what holds bytes
 *   engine.h    the core itself
 *   endpoint.h  clusters and endpoints, and the tables that have them
 *   conn.h      connections
 *   pick.h      where a request goes
 *   request.h   requests and attempts
 *
 * Each file calls only those in front of it:
 *
 *   memory.c    chunks, the budget, output queues
 *   records.c   places and handles of connections, requests and attempts
 *   usable.c    what follows for clusters where their endpoints are usable or not
 *   slots.c     which request an answer belongs to
 *   asked.c     what is known of a request's values
 *   adaptive.c  how many requests of a cluster may be, where that is found by how long they take
 *   places.c    how much of a cluster is under way, and whose it is
 *   endpoint.c  how endpoints are, for who looks on
 *   conn.c      connections of every kind: reading, framing, closing, time
 *   pieces.c    messages that come in pieces: where they go, and that no more is read than is taken there
 *   greeting.c  what is said before requests
 *   check.c     active health checks
 *   pick.c      endpoint and connection for a target
 *   hedge.c     a second attempt beside the first
 *   retry.c     whether a request is tried again, and when
 *   ends.c      what became of requests, for who keeps accounts
 *   quota.c     what somebody outside says of rules' limits
 *   waits.c     what waits of each rule, whatever table it came by
 *   live.c      tables in use, and what has state beyond them
 *   attempt.c   one try on one connection
 *   request.c   requests: what they hold, their answer, their end
 *   room.c      who pays where the budget is used up
 *   halves.c    large frames that are passed on before they are whole
 *   breaker.c   requests that breakers refuse
 *   choose.c    which cluster a request goes to
 *   parts.c     answers that come in parts
 *   change.c    what rules change: a step, and answers
 *   guard.c     what a listener allows and denies
 *   pinned.c    a client's own upstream connections
 *   dispatch.c  a request's way through its plan, to a connection
 *   aside.c     requests that wait at a step
 *   tries.c     what its tries come to
 *   limit.c, fault.c, filter.c, reply.c, key.c, mirror.c  steps of a plan
 *   answer.c    answers that wait for filters
 *   server.c    connections of servers
 *   pair.c      connections of no known protocol, passed on byte by byte
 *   detect.c    which protocol a client speaks
 *   client.c    connections of clients
 *   core.c      life of a core, batches */
#ifndef PK_INTERNAL_H
#define PK_INTERNAL_H

#include "core/request.h"

#endif
