/* transport.c: which transport a connection has: the one place that knows all of them. */
#include "driver/parts.h"

const pk_transport *pk_transport_of(const pk_worker *w, const pk_link *l) {
  return pk_core_bridged(w->core, l->handle) != NULL ? &pk_transport_bridge : &pk_transport_plain;
}
