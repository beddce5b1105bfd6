/* shared.c: the words of breaker.h, and who holds them. */
#include "policy/breaker.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 256, PAGES = 256 };

struct pk_shared {
  _Atomic uint32_t holders;
  _Atomic(void *) clusters[PAGES], endpoints[PAGES];
};

pk_shared *pk_shared_new(void) {
  pk_shared *s = calloc(1, sizeof *s);
  if (s != NULL) s->holders = 1;
  return s;
}

pk_shared *pk_shared_hold(pk_shared *s) {
  atomic_fetch_add(&s->holders, 1);
  return s;
}

void pk_shared_release(pk_shared *s) {
  if (s == NULL || atomic_fetch_sub(&s->holders, 1) > 1) return;
  for (uint32_t i = 0; i < PAGES; i++) {
    free(s->clusters[i]);
    free(s->endpoints[i]);
  }
  free(s);
}

/* The place of a number; workers may make its page at the same time. */
static void *place(_Atomic(void *) *pages, uint32_t number, size_t size) {
  void *page, *none = NULL;
  if (number / PAGE >= PAGES) return NULL;
  page = atomic_load(&pages[number / PAGE]);
  if (page == NULL) {
    if (posix_memalign(&page, 64, PAGE * size) != 0) return NULL;
    memset(page, 0, PAGE * size);
    if (!atomic_compare_exchange_strong(&pages[number / PAGE], &none, page)) {
      free(page);
      page = none;
    }
  }
  return (char *)page + number % PAGE * size;
}

pk_cluster_words *pk_shared_cluster_words(pk_shared *s, uint32_t number) {
  return place(s->clusters, number, sizeof(pk_cluster_words));
}

pk_endpoint_words *pk_shared_endpoint_words(pk_shared *s, uint32_t number) {
  return place(s->endpoints, number, sizeof(pk_endpoint_words));
}

uint32_t pk_shared_under_way(pk_shared *s, uint32_t cluster, uint32_t breaker) {
  const pk_cluster_words *w = pk_shared_cluster_words(s, cluster);
  return w != NULL && breaker < PK_BREAKER_ENDPOINT_CONNECTIONS ? w->under_way[breaker] : 0;
}

uint32_t pk_shared_endpoint(pk_shared *s, uint32_t endpoint, uint32_t breaker) {
  const pk_endpoint_words *w = pk_shared_endpoint_words(s, endpoint);
  int is = breaker >= PK_BREAKER_ENDPOINT_CONNECTIONS && breaker < PK_BREAKER_COUNT;
  return w != NULL && is ? w->under_way[breaker - PK_BREAKER_ENDPOINT_CONNECTIONS] : 0;
}

uint64_t pk_shared_refused(pk_shared *s, uint32_t cluster, uint32_t breaker) {
  const pk_cluster_words *w = pk_shared_cluster_words(s, cluster);
  return w != NULL && breaker < PK_BREAKER_COUNT ? w->refused[breaker] : 0;
}

uint32_t pk_shared_limit(pk_shared *s, uint32_t cluster) {
  const pk_cluster_words *w = pk_shared_cluster_words(s, cluster);
  return w != NULL ? w->limit & PK_LIMIT_MASK : 0;
}

void pk_shared_forget(pk_shared *s, uint32_t cluster) {
  pk_cluster_words *w = pk_shared_cluster_words(s, cluster);
  if (w == NULL) return;
  for (uint32_t i = 0; i < PK_BREAKER_COUNT; i++) atomic_store(&w->refused[i], 0);
  atomic_store(&w->limit, 0);
}
