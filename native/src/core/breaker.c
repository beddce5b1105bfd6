/* breaker.c: requests that a breaker is asked for (breaker.h), and what is said to those that it refuses. */
#include "core/internal.h"

enum { REQUESTS = 1 << PK_BREAKER_REQUESTS, ENDPOINT = 1 << PK_BREAKER_ENDPOINT_REQUESTS };

static const pk_breaker *breaker_of(const pk_target *to) {
  return &pk_table_cluster_at(to->live->table, to->cluster)->breaker;
}

/* "breaker requests of cluster demo is at the limit of 1024" */
static void add(pk_message *m, const pk_request *r, uint32_t which, uint32_t why) {
  static const char *const names[PK_BREAKER_COUNT] = {
      "breaker connections of cluster ", "breaker waiting of cluster ",
      "breaker requests of cluster ",    "breaker retries of cluster ",
      "breaker endpoint.connections of cluster ", "breaker endpoint.requests of cluster "};
  const pk_table *t = r->to.live->table;
  pk_message_add(m, names[which]);
  pk_message_text(m, t, pk_table_cluster_at(t, r->to.cluster)->name);
  pk_message_add(m, why == PK_PLACE_NONE     ? " is at the limit of "
                    : why == PK_PLACE_CLIENT ? ": this client has as much under way as others may still have, of "
                                    : ": this method has as much under way as others may still have, of ");
  pk_message_number(m, pk_breaker_most(&r->to, which));
  if (which != PK_BREAKER_REQUESTS || breaker_of(&r->to)->least == 0) return;
  pk_message_add(m, ", found by how long its requests take (adaptive, up to ");
  pk_message_number(m, breaker_of(&r->to)->requests);
  pk_message_add(m, ")");
}

static PK_RARE void refuse(pk_core *core, pk_request *r, uint32_t which, uint32_t why) {
  if (r->placed) pk_breaker_back(r);
  pk_places_refused(&r->to, which);
  if (r->attempt != PK_NONE) return; /* another may be answered */
  pk_message m;
  pk_message_begin(&m, "protokit: overloaded: ");
  add(&m, r, which, why);
  pk_request_fail(core, r, PK_STATUS_OVERLOADED, m.data, m.size);
}

static uint32_t of_status(uint32_t status) {
  return status == PK_PICK_CONNECTIONS            ? PK_BREAKER_CONNECTIONS
         : status == PK_PICK_ENDPOINT_CONNECTIONS ? PK_BREAKER_ENDPOINT_CONNECTIONS
                                                  : PK_BREAKER_ENDPOINT_REQUESTS;
}

void pk_breaker_refuse(pk_core *core, pk_request *r, uint32_t status) { refuse(core, r, of_status(status), PK_PLACE_NONE); }

void pk_breaker_refused(const pk_target *to, uint32_t status) {
  if (status >= PK_PICK_CONNECTIONS) pk_places_refused(to, of_status(status));
}

static PK_RARE int enter_scarce(pk_core *core, pk_request *r, uint32_t most) {
  uint32_t why = pk_places_take(core, r, PK_BREAKER_REQUESTS, most, pk_cluster_of(&r->to)->waiting[pk_places_of(&r->to)]);
  if (why != PK_PLACE_TAKEN) refuse(core, r, PK_BREAKER_REQUESTS, why);
  return why == PK_PLACE_TAKEN;
}

int pk_breaker_enter(pk_core *core, pk_request *r) {
  const pk_breaker *b = breaker_of(&r->to);
  if (b->requests == 0) return 1;
  uint32_t most = b->least == 0 ? b->requests : pk_adaptive_limit(pk_cluster_of(&r->to)->words, b);
  if (!pk_breaker_take(&pk_cluster_of(&r->to)->words->under_way[PK_BREAKER_REQUESTS], pk_breaker_plenty(most)))
    return enter_scarce(core, r, most);
  r->placed |= REQUESTS;
  return 1;
}

/* What else it needs where it is. */
static PK_RARE int use(pk_core *core, pk_request *r, pk_attempt *a) {
  const pk_breaker *b = breaker_of(&r->to);
  uint32_t which = PK_BREAKER_ENDPOINT_REQUESTS, why = PK_PLACE_TAKEN;
  if (b->endpoint_requests != 0 && !a->endpoint->gone) {
    if (pk_breaker_take(&a->endpoint->words->under_way[which - PK_BREAKER_ENDPOINT_CONNECTIONS], b->endpoint_requests)) {
      a->endpoint->placed++;
      a->placed |= ENDPOINT;
    } else {
      why = PK_PLACE_NONE;
    }
  }
  if (why == PK_PLACE_TAKEN && b->waiting != 0 && a->waiting) {
    which = PK_BREAKER_WAITING;
    why = pk_places_take(core, r, which, b->waiting, 0);
  }
  if (why == PK_PLACE_TAKEN) return 1;
  pk_attempt_end(core, r, a, PK_ATTEMPT_GIVEN_UP);
  refuse(core, r, which, why);
  return 0;
}

int pk_breaker_begun(pk_core *core, pk_request *r, pk_attempt *a) {
  const pk_breaker *b = breaker_of(&r->to);
  a->endpoint->measured |= PK_MEASURED_PLACES;
  if ((b->endpoint_requests | (b->waiting & -(uint32_t)a->waiting)) != 0 && !use(core, r, a)) return 0;
  a->placed = ((uint32_t)a->placed | r->placed) & 0x7fu;
  r->placed = 0;
  if (a->placed & REQUESTS) pk_cluster_of(&r->to)->waiting[pk_places_of(&r->to)]++;
  return 1;
}

void pk_breaker_add_retries(pk_message *m, const pk_request *r) { add(m, r, PK_BREAKER_RETRIES, PK_PLACE_NONE); }
