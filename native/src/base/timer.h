/* timer.h: a timing wheel of 1 ms ticks. Adding and removing cost a few stores; a timer further
 * away than the wheel is long waits at its end and is put back. No system call anywhere. */
#ifndef PK_TIMER_H
#define PK_TIMER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { PK_WHEEL_SLOTS = 4096 };

typedef struct pk_timer {
  struct pk_timer *next, **link; /* link: who points here; NULL where not armed */
  uint64_t due;                  /* tick */
  uint32_t kind;                 /* the owner's */
} pk_timer;

typedef struct pk_wheel {
  uint64_t now;  /* tick up to which timers have fired */
  uint64_t next; /* no timer is due before this tick */
  uint64_t count;
  pk_timer *firing; /* due, not yet handed out */
  uint64_t used[PK_WHEEL_SLOTS / 64];
  pk_timer *slots[PK_WHEEL_SLOTS];
} pk_wheel;

static inline void pk_timer_stop(pk_wheel *w, pk_timer *t) {
  if (t->link == NULL) return;
  *t->link = t->next;
  if (t->next != NULL) t->next->link = t->link;
  t->link = NULL;
  w->count--;
}

static inline void pk_timer_start(pk_wheel *w, pk_timer *t, uint64_t due) {
  pk_timer_stop(w, t);
  t->due = due > w->now ? due : w->now + 1;
  uint64_t tick = t->due < w->now + PK_WHEEL_SLOTS ? t->due : w->now + PK_WHEEL_SLOTS - 1;
  uint32_t slot = (uint32_t)(tick % PK_WHEEL_SLOTS);
  t->next = w->slots[slot];
  t->link = &w->slots[slot];
  if (t->next != NULL) t->next->link = &t->next;
  w->slots[slot] = t;
  w->used[slot / 64] |= (uint64_t)1 << (slot % 64);
  w->count++;
  if (tick < w->next) w->next = tick;
}

/* The first tick after `now` whose slot may hold a timer; UINT64_MAX where there are none. */
static inline uint64_t pk_wheel_scan(const pk_wheel *w) {
  if (w->count == 0) return UINT64_MAX;
  for (uint64_t tick = w->now + 1; tick < w->now + 1 + PK_WHEEL_SLOTS;) {
    uint32_t slot = (uint32_t)(tick % PK_WHEEL_SLOTS);
    uint64_t word = w->used[slot / 64] >> (slot % 64);
    if (word != 0) return tick + (uint64_t)__builtin_ctzll(word);
    tick += 64 - slot % 64;
  }
  return UINT64_MAX;
}

/* Empty the slot of tick w->next: what is due goes to `firing`, the rest waits for a later round. */
static inline void pk_wheel_turn(pk_wheel *w) {
  uint32_t slot = (uint32_t)(w->next % PK_WHEEL_SLOTS);
  pk_timer *t = w->slots[slot];
  w->slots[slot] = NULL;
  w->used[slot / 64] &= ~((uint64_t)1 << (slot % 64));
  w->now = w->next;
  while (t != NULL) {
    pk_timer *after = t->next;
    if (t->due <= w->now) {
      t->next = w->firing;
      t->link = &w->firing;
      if (t->next != NULL) t->next->link = &t->next;
      w->firing = t;
    } else {
      t->link = NULL;
      w->count--;
      pk_timer_start(w, t, t->due);
    }
    t = after;
  }
  w->next = pk_wheel_scan(w);
}

/* The next timer due by tick `now`, stopped; NULL when there is none left. */
static inline pk_timer *pk_wheel_expire(pk_wheel *w, uint64_t now) {
  while (w->firing == NULL && w->next <= now) pk_wheel_turn(w);
  pk_timer *t = w->firing;
  if (t != NULL) {
    pk_timer_stop(w, t);
  } else if (now > w->now) {
    w->now = now;
  }
  return t;
}

#endif
