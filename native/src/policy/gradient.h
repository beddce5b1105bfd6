/* gradient.h: how many requests a cluster may have under way, found by how long they take. Pure: times go in, a limit comes out.
 *
 * What counts is by how much more a call takes than calls of its method do while there is little to do: of a window's calls
 * the lower quartile, since a few slow ones (an endpoint that is ill, a method that hangs) say nothing of the whole. Where
 * that is over a tolerance the limit goes down in proportion; else it goes up where it was used: twofold until it was too
 * high once, from then on by its root. What is usual is learned while less than half of the limit is under way, or where
 * there is nothing to take away any more: never from a queue. */
#ifndef PK_GRADIENT_H
#define PK_GRADIENT_H

#include <stdint.h>
#include <string.h>

enum {
  PK_GRADIENT_LEAST_MS = 100, /* a window, and twice as long as its calls take, up to: */
  PK_GRADIENT_MOST_MS = 1000,
  PK_GRADIENT_CALLS = 20,     /* in it, at least */
  PK_GRADIENT_BINS = 128,     /* an eighth of an octave each */
  PK_GRADIENT_TOLERANCE = 5,  /* of these: half as long again */
  PK_GRADIENT_METHODS = 128,
  PK_GRADIENT_TICK_BITS = 25  /* 34 ms: in each, what a method takes at least goes up by a 256th of an octave at most */
};

typedef struct pk_gradient_method {
  uint32_t least; /* how long it takes at least, 256ths of an octave; 0: not known */
  uint32_t at;    /* ticks */
} pk_gradient_method;

/* Zeroed, it knows nothing. */
typedef struct pk_gradient {
  uint64_t due;         /* ns: when the window is over */
  uint64_t took;        /* ns: its calls, in all */
  uint32_t calls, late; /* of them those that nobody waits for any more */
  uint32_t used;        /* the most under way at the end of one */
  uint32_t usual;       /* of the quartile, 256ths of a bin, and 1; 0: not known */
  uint16_t bins[PK_GRADIENT_BINS]; /* by how much more they took */
  pk_gradient_method methods[PK_GRADIENT_METHODS];
} pk_gradient;

/* The logarithm, 256ths of an octave; a straight line in each. */
static inline uint32_t pk_gradient_log(uint64_t ns) {
  uint32_t octave = 63u - (uint32_t)__builtin_clzll(ns | 256);
  return octave * 256 + (uint32_t)((ns | 256) >> (octave - 8) & 255);
}

static inline int pk_gradient_is_calm(uint32_t used, uint32_t limit, uint32_t least) { return used < limit / 2 || limit <= least; }

/* A call took so long. `late`: it has no answer. `used`: what is under way, it included; `calm`: so little that it says
 * what calls of its method take. */
static inline void pk_gradient_call(pk_gradient *g, uint32_t method, uint64_t took, int late, uint32_t used, int calm, uint64_t now) {
  pk_gradient_method *m = &g->methods[method % PK_GRADIENT_METHODS];
  uint32_t log = pk_gradient_log(took), tick = (uint32_t)(now >> PK_GRADIENT_TICK_BITS);
  if (late && (m->least == 0 || log <= m->least)) return; /* its caller was in a hurry */
  if (m->least == 0) {
    m->least = log;
  } else if (log < m->least) {
    m->least -= (m->least - log + 15) / 16; /* one that was quick by chance is not what they take */
  } else if (calm && !late) {
    uint32_t rise = tick - m->at;
    m->least += rise < log - m->least ? rise : log - m->least;
  }
  m->at = tick;
  uint32_t bin = log > m->least ? (log - m->least) / 32 : 0;
  bin = bin < PK_GRADIENT_BINS ? bin : PK_GRADIENT_BINS - 1;
  if (g->bins[bin] < UINT16_MAX) g->bins[bin]++;
  g->calls++;
  g->late += (uint32_t)late;
  g->took += took;
  g->used = used > g->used ? used : g->used;
}

static inline int pk_gradient_is_due(const pk_gradient *g, uint64_t now) { return g->calls >= PK_GRADIENT_CALLS && now >= g->due; }

/* The next window, whatever became of this one. */
static inline void pk_gradient_begin(pk_gradient *g, uint64_t now) {
  uint64_t window = g->calls == 0 ? 0 : 2 * (g->took / g->calls);
  const uint64_t least = PK_GRADIENT_LEAST_MS * UINT64_C(1000000), most = PK_GRADIENT_MOST_MS * UINT64_C(1000000);
  g->due = now + (window < least ? least : window > most ? most : window);
  g->took = g->calls = g->late = g->used = 0;
  memset(g->bins, 0, sizeof g->bins);
}

static inline uint32_t pk_gradient_root(uint32_t n) {
  uint32_t root = 0;
  for (uint32_t bit = 1u << 15; bit > 0; bit >>= 1)
    if ((root + bit) * (root + bit) <= n) root += bit;
  return root;
}

/* The bin that the lower quartile of the calls is in. */
static inline uint32_t pk_gradient_quartile(const pk_gradient *g) {
  uint32_t seen = 0, bin = 0;
  while (bin < PK_GRADIENT_BINS - 1 && (seen += g->bins[bin]) <= g->calls / 4) bin++;
  return bin;
}

static inline void pk_gradient_learn(pk_gradient *g, uint32_t bin, int calm) {
  uint32_t is = bin * 256 + 1;
  if (g->late * 4 >= g->calls) return; /* calls without answers say nothing of what is usual */
  if (g->usual == 0) {
    g->usual = is;
  } else if (is < g->usual) {
    g->usual = (g->usual + is) / 2;
  } else if (calm) {
    g->usual += (is - g->usual) / 8;
  }
}

/* The window is over: the next limit, from `least` to `most`. *found: it was too high once. */
static inline uint32_t pk_gradient_next(pk_gradient *g, uint32_t limit, uint32_t least, uint32_t most, int *found) {
  /* 2 to the power of eighths, down to a half */
  static const uint16_t parts[] = {1024, 939, 861, 790, 724, 664, 609, 558, 512};
  uint32_t bin = pk_gradient_quartile(g);
  pk_gradient_learn(g, bin, pk_gradient_is_calm(g->used, limit, least));
  uint32_t usual = (g->usual + 127) / 256, over = bin > usual + PK_GRADIENT_TOLERANCE ? bin - usual - PK_GRADIENT_TOLERANCE : 0;
  uint64_t next = (uint64_t)limit * parts[over < 8 ? over : 8] / 1024;
  *found |= over > 0;
  if (g->used >= limit - limit / 2 && over < 8) next += *found ? pk_gradient_root(limit) : limit;
  return next < least ? least : next > most ? most : (uint32_t)next;
}

#endif
