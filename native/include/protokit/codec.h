/* protokit/codec.h: the contract between the engine and a wire protocol.
 *
 * A plugin written in C includes this header from the installed protokit
 * (python -c "import protokit; print(protokit.get_include())"), fills one
 * constant pk_codec and hands its address to Python.
 *
 * Every function is pure: it reads the bytes it is given and its own constant
 * pk_codec, allocates nothing, keeps nothing, blocks on nothing, and may run
 * on several threads at once. All input is hostile: never read at or past
 * data + size. The struct only ever grows at its end; `abi` and `size` say
 * which part of it the plugin filled.
 */
#ifndef PROTOKIT_CODEC_H
#define PROTOKIT_CODEC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PK_CODEC_ABI 1u

/* Results. Functions that build bytes return their count (>= 0) instead of PK_OK. */
enum {
  PK_OK = 0,
  PK_MORE = 1,              /* the answer needs more bytes */
  PK_ERR_MAGIC = -1,        /* these bytes are not this protocol */
  PK_ERR_FORMAT = -2,       /* this protocol, malformed */
  PK_ERR_LIMIT = -3,        /* well formed, larger than allowed */
  PK_ERR_UNSUPPORTED = -4,  /* well formed, a variant this codec cannot read */
  PK_ERR_SPACE = -5         /* the output buffer is too small */
};

/* What a frame is. */
enum {
  PK_KIND_REQUEST = 1,   /* expects one response */
  PK_KIND_ONEWAY,        /* a request nobody answers, not even with an error */
  PK_KIND_RESPONSE,
  PK_KIND_HEARTBEAT,     /* answered at once with heartbeat_ack */
  PK_KIND_HEARTBEAT_ACK, /* never answered */
  PK_KIND_DRAIN,         /* the sender wants no new requests on this connection */
  PK_KIND_UNDRAIN,       /* the sender takes new requests again */
  PK_KIND_IGNORE         /* well formed, means nothing to a proxy: dropped */
};

/* One taxonomy of outcomes for all protocols. */
enum {
  PK_STATUS_OK = 0,
  PK_STATUS_APP_ERROR,
  PK_STATUS_NO_SERVICE,
  PK_STATUS_BAD_REQUEST,
  PK_STATUS_TIMEOUT,
  PK_STATUS_OVERLOADED,
  PK_STATUS_UNAVAILABLE,
  PK_STATUS_DENIED,
  PK_STATUS_INTERNAL,
  PK_STATUS_COUNT
};

/* How requests share a connection (pk_codec.mode). */
enum {
  PK_MODE_MULTIPLEXED = 0, /* ids; answers in any order */
  PK_MODE_ORDERED = 1,     /* no ids; answers in the order of the requests */
  PK_MODE_PINGPONG = 2     /* no ids; one request at a time */
};

typedef struct pk_slice {
  const uint8_t *data; /* NULL when absent */
  uint32_t size;       /* bytes */
} pk_slice;

/* What framing finds out. Offsets count from the frame's first byte. */
typedef struct pk_frame {
  uint64_t id;           /* as on the wire, zero-extended; 0 where there are none */
  uint32_t size;         /* the whole frame, bytes */
  uint32_t need;         /* with PK_MORE: call again with at least this many bytes from the
                            frame's start (> the size just given): framing stays linear */
  uint32_t body;         /* offset of the payload, for the codec's own later calls */
  uint32_t timeout_ms;   /* the caller's budget when the fixed part carries it, else 0 */
  uint32_t upstream_key; /* requests with different keys never share an upstream connection */
  uint32_t context;      /* what error/heartbeat_ack/drain need once the bytes are gone
                            (serialization, version ...): the codec packs it, the engine keeps it */
  uint32_t error_at;     /* with PK_ERR_*: offset of the first wrong byte */
  uint8_t kind;          /* PK_KIND_* */
  uint8_t status;        /* PK_STATUS_*, of a response */
  uint8_t flags;         /* for the codec's own later calls */
  uint8_t unused;
} pk_frame;

/* Where a request wants to go. Slices point into the frame or into constants. */
typedef struct pk_destination {
  pk_slice service, method, version, group;
  uint32_t timeout_ms; /* the caller's budget, 0 when the frame says none */
  uint32_t context;    /* replaces frame.context; starts as a copy of it */
} pk_destination;

typedef struct pk_header {
  pk_slice key;
  pk_slice value; /* text, or the raw encoded value when `raw` is set */
  uint32_t raw;   /* 1: value is not text; its bytes are the protocol's own encoding */
} pk_header;

typedef struct pk_cursor {
  uint32_t at;       /* 0 before the first call */
  uint32_t state[7]; /* the codec's own */
} pk_cursor;

typedef struct pk_codec pk_codec;
struct pk_codec {
  uint32_t abi;  /* PK_CODEC_ABI */
  uint32_t size; /* sizeof(pk_codec) as compiled into the plugin */
  const char *name;
  const void *user;  /* the codec's own constants */
  uint32_t mode;     /* PK_MODE_* */
  uint32_t id_bytes; /* 1..8; 0 where there are no ids */
  uint64_t reserved_ids[4]; /* never issued upstream */
  uint32_t reserved_count;
  uint32_t reply_max; /* bytes that heartbeat, drain, and error with a text of 512 bytes
                         need at most */

  /* Can a connection that starts with these bytes be this protocol?
   * PK_OK yes; PK_MORE not yet known; PK_ERR_MAGIC no. Must refuse at the first wrong byte. */
  int (*probe)(const pk_codec *, const uint8_t *data, size_t size);

  /* Frame the first message in data[0..size), size >= 1. `limit` is the largest frame allowed.
   * PK_OK (whole frame present, *out filled), PK_MORE (out->need), or PK_ERR_* (out->error_at;
   * when out->kind is PK_KIND_REQUEST the id and context are valid and can be answered). */
  int (*frame)(const pk_codec *, const uint8_t *data, size_t size, uint32_t limit, pk_frame *out);

  /* Service, method, version, group of a whole REQUEST or ONEWAY frame.
   * PK_OK; PK_ERR_FORMAT (answer BAD_REQUEST); PK_ERR_UNSUPPORTED (this variant cannot be read:
   * the listener's default route takes it). */
  int (*destination)(const pk_codec *, const uint8_t *data, const pk_frame *, pk_destination *out);

  /* The next header (attachment) of a request. PK_OK; PK_MORE no further ones; PK_ERR_*. */
  int (*next_header)(const pk_codec *, const uint8_t *data, const pk_frame *, pk_cursor *,
                     pk_header *out);

  /* Write `id` into the frame, and whatever covers it (checksums). */
  void (*patch_id)(const pk_codec *, uint8_t *data, const pk_frame *, uint64_t id);

  /* Build a heartbeat request; 0 when the protocol has none. */
  int (*heartbeat)(const pk_codec *, uint64_t id, uint32_t upstream_key, uint8_t *out, size_t cap);

  /* Build the answer to the received heartbeat `data`. `cap` is at least frame->size. */
  int (*heartbeat_ack)(const pk_codec *, const uint8_t *data, const pk_frame *, uint8_t *out,
                       size_t cap);

  /* Build the signal "send no new requests here"; 0 when the protocol has none. `context` is
   * that of the last frame received on the connection, 0 when there was none. */
  int (*drain)(const pk_codec *, uint32_t context, uint8_t *out, size_t cap);

  /* Build the answer that makes the caller raise `status` (PK_STATUS_*), with a text (UTF-8, at
   * most 512 bytes) that a person reads. */
  int (*error)(const pk_codec *, uint32_t status, uint64_t id, uint32_t context, const char *text,
               size_t text_size, uint8_t *out, size_t cap);
};

#ifdef __cplusplus
}
#endif
#endif
