/* index.h: the keys by which a route table's rules are indexed; shared by look-up and loading so
 * that both always agree. */
#ifndef PK_INDEX_H
#define PK_INDEX_H

#include "base/hash.h"
#include "table/table.h"

enum { PK_KEY_SERVICE = 1, PK_KEY_PAIR = 2, PK_KEY_PREFIX = 3 };

typedef struct pk_index_key {
  uint64_t hash;
  pk_slice service, method;
  uint32_t kind;
} pk_index_key;

static inline pk_index_key pk_index_key_service(uint64_t seed, pk_slice service) {
  pk_index_key key = {pk_hash(seed, service.data, service.size), service, {NULL, 0}, PK_KEY_SERVICE};
  return key;
}

static inline pk_index_key pk_index_key_pair(const pk_index_key *of_service, pk_slice method) {
  pk_index_key key = {pk_hash(of_service->hash, method.data, method.size), of_service->service,
                      method, PK_KEY_PAIR};
  return key;
}

static inline pk_index_key pk_index_key_prefix(uint64_t seed, pk_slice service, uint32_t size) {
  pk_slice prefix = {service.data, size};
  pk_index_key key = {pk_hash(~seed, prefix.data, prefix.size), prefix, {NULL, 0}, PK_KEY_PREFIX};
  return key;
}

static inline uint64_t pk_index_value(uint64_t seed, uint64_t of_slot, uint32_t header, pk_slice value) {
  return pk_hash(seed ^ of_slot * 31 ^ header, value.data, value.size);
}

/* By which kind of key a rule is indexed; 0: it stands in the list of the rest. */
static inline uint32_t pk_index_kind(const pk_rule *r) {
  if (r->service.kind == PK_MATCH_PREFIX) return PK_KEY_PREFIX;
  if (r->service.kind != PK_MATCH_EXACT) return 0;
  return r->method.kind == PK_MATCH_EXACT ? PK_KEY_PAIR : PK_KEY_SERVICE;
}

static inline int pk_index_text_same(pk_slice a, pk_text b, const uint8_t *text) {
  return a.size == b.size && (b.size == 0 || memcmp(a.data, text + b.at, b.size) == 0);
}

static inline int pk_index_same(const pk_index_key *key, const pk_rule *r, const uint8_t *text) {
  return pk_index_kind(r) == key->kind && pk_index_text_same(key->service, r->service.text, text) &&
         (key->kind != PK_KEY_PAIR || pk_index_text_same(key->method, r->method.text, text));
}

#endif
