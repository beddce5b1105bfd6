/* protokit/codec.h: the contract between the engine and a wire protocol.
 *
 * A plugin written in C has a copy of this header, fills one constant pk_codec
 * and hands its address to Python.
 *
 * Every function is pure: it reads the bytes it is given and its own constant
 * pk_codec, allocates nothing, blocks on nothing, keeps nothing that changes an
 * answer (but for `frame` in the state it is given), and may run on several
 * threads at once. All input is hostile: never read at or past data + size. The
 * struct only ever grows at its end; `abi` and `size` say which part of it the
 * plugin filled.
 */
#ifndef PROTOKIT_CODEC_H
#define PROTOKIT_CODEC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PK_CODEC_ABI 2u

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
  PK_KIND_IGNORE,        /* well formed, means nothing to a proxy: dropped */
  PK_KIND_GREETING,      /* a step of what is said before requests; with a status as of a response */
  PK_KIND_PIECE          /* more of the message that its sender began with PK_SAYS_MORE; where there are ids
                            of that id */
};

/* What a frame says besides (pk_frame.says, bits). */
enum {
  PK_SAYS_LAST = 1, /* its sender's last message on this connection: a client asks nothing behind it, a server
                       answers nothing behind it */
  PK_SAYS_MORE = 2, /* not all of it: pieces follow, or to a request more answers; the last one is without */
  PK_SAYS_HALF = 4  /* the front of a frame of `need` bytes, all that came of it (pk_frame.halves): the engine passes the
                       rest on as it comes, and asks nothing about it */
};

/* Who sent a frame (pk_frame.from). */
enum { PK_RELAYED_SERVER_FIRST = 2 }; /* of pk_codec.greeting_relayed */
enum { PK_FROM_NOBODY = 0, /* a tool asks, which does not know */ PK_FROM_CLIENT, PK_FROM_SERVER };

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
  PK_MODE_ORDERED = 1,     /* answers in the order of the requests; ids, if any, only come back with them */
  PK_MODE_PINGPONG = 2     /* one request at a time; the same of ids */
};

typedef struct pk_slice {
  const uint8_t *data; /* NULL when absent */
  uint32_t size;       /* bytes */
} pk_slice;

/* How the engine writes its own numbers into ids that are byte strings (pk_codec.id_form). What is shorter
 * than an id of fixed size is filled with zeros in front. */
enum {
  PK_ID_DECIMAL = 0, /* digits */
  PK_ID_HEX,         /* lower case */
  PK_ID_RAW,         /* id_bytes bytes, big endian */
  PK_ID_UUID,        /* hex in groups of 8-4-4-4-12 digits, 36 bytes */
  PK_ID_VARINT,      /* LEB128, 7 bits a byte, the lowest first: up to 10 bytes */
  PK_ID_QUOTED,      /* digits between quotation marks, as a text of JSON */
  PK_ID_MSGPACK,     /* an integer of MessagePack, the shortest; read in any width */
  PK_ID_INTEGER      /* two's complement, big endian, the shortest: no byte in front that says only the sign */
};
#define PK_ID_MAX 64u /* bytes of the longest id */
#define PK_NO_ID 0xffffffffu

typedef struct pk_span {
  uint32_t at, size; /* bytes from the frame's first one; at is PK_NO_ID where there is none */
} pk_span;

/* What framing finds out. Offsets count from the frame's first byte. */
typedef struct pk_frame {
  union {
    uint64_t id;         /* as on the wire, zero-extended; 0 where there are none */
    pk_span id_span;     /* where it stands, when ids are byte strings (pk_codec.id_max) */
  };
  uint32_t size;         /* the whole frame, bytes; with PK_ERR_LIMIT, too, where it is known */
  uint32_t need;         /* with PK_MORE: call again with at least this many bytes from the
                            frame's start (> the size just given): framing stays linear. With
                            PK_ERR_LIMIT: `size` again where that is exactly where the next one begins; with
                            PK_SAYS_HALF the whole frame's bytes */
  uint32_t body;         /* offset of the payload, for the codec's own later calls */
  uint32_t timeout_ms;   /* the caller's budget when the fixed part carries it, else 0 */
  uint32_t upstream_key; /* requests with different keys never share an upstream connection */
  uint32_t context;      /* what error/heartbeat_ack/drain need once the bytes are gone
                            (serialization, version ...): the codec packs it, the engine keeps it */
  uint32_t error_at;     /* with PK_ERR_*: offset of the first wrong byte */
  uint8_t kind;          /* PK_KIND_* */
  uint8_t status;        /* PK_STATUS_*, of a response */
  uint8_t flags;         /* for the codec's own later calls */
  uint8_t says;          /* PK_SAYS_* */
  uint32_t own[4];       /* as `flags` */
  /* Given by who asks: */
  uint8_t from;          /* PK_FROM_* */
  uint8_t ended;         /* 1: the peer sends no more: these bytes are the last (pk_codec.ends). `frame` clears it where
                            it frames a message that tells itself where it ends */
  uint16_t halves;       /* 1: a large frame that is not whole. PK_OK and PK_SAYS_HALF, where all that any function reads
                            of it is here and `size` is what is here; PK_MORE and `need` where that would be */
  uint32_t asked;        /* of a server's frame, where answers come in the requests' order: the context of the
                            request that is answered next; 0 where none is */
  void *state;           /* state_size bytes of this direction of the connection: 0 before its first frame, then
                            as `frame` left them; a scratch of zeros where there is no connection. NULL where
                            state_size is 0 */
} pk_frame;

/* What replies to a request are built from. */
typedef struct pk_reply {
  uint64_t id;      /* the request's; 0 where ids are byte strings: the engine puts it in */
  uint32_t status;  /* PK_STATUS_*, of an error */
  uint32_t context; /* the request's; 0 where there was none */
  pk_slice kept;    /* what pk_codec.keep kept of it; no data where there is nothing */
  pk_slice text;    /* of an error, for a person: UTF-8, at most 512 bytes */
} pk_reply;

/* Where a request wants to go. Slices point into the frame or into constants. */
typedef struct pk_destination {
  pk_slice service, method, version, group;
  uint32_t timeout_ms; /* the caller's budget, 0 when the frame says none */
  uint32_t context;    /* replaces frame.context; starts as a copy of it */
  uint32_t flags;      /* PK_DESTINATION_* */
} pk_destination;

/* The server will call this client back on the same connection: only a pinned one can carry it. */
#define PK_DESTINATION_CALLS_BACK 1u

typedef struct pk_header {
  pk_slice key;
  pk_slice value; /* text, or the raw encoded value when `raw` is set */
  uint32_t raw;   /* PK_RAW_* where the value is not text; its bytes are the protocol's own encoding */
} pk_header;

/* VEILED: a text that its receiver reads and that does not stand there as it is read (in chunks, in escapes, in another
 * character set): it may be any, so nothing is decided by it. */
enum { PK_RAW_OTHER = 1, PK_RAW_VEILED = 2 };

/* Headers that somebody asks for: names of up to 63 bytes, ordered by their sizes; those of n bytes are first[n] up to
 * first[n + 1]. wanted.h looks one up. */
#define PK_WANTED_MAX 64u
typedef struct pk_wanted {
  uint64_t serial; /* of these names: other ones have another, in this process */
  uint32_t count;
  uint8_t first[65];
  uint8_t filled; /* found->headers are looked at whatever number destination_headers gives */
  pk_slice names[64];
} pk_wanted;

#define PK_SAID_TOO (UINT64_C(1) << 63)
/* Those that there are, by their numbers. */
typedef struct pk_headers {
  uint64_t there; /* bits */
  uint64_t same;  /* destination_headers: it has what all requests of this number have, and is not said again, but where PK_SAID_TOO
                   * is set; 0: it is said */
  pk_header headers[64]; /* as next_header gives them; of a key that stands there several times the last */
} pk_headers;

/* An argument of a call. */
enum { PK_VALUE_NULL = 0, PK_VALUE_BOOLEAN, PK_VALUE_INTEGER, PK_VALUE_NUMBER, PK_VALUE_TEXT, PK_VALUE_OTHER };

typedef struct pk_value {
  uint32_t type;     /* PK_VALUE_* */
  union {
    int64_t integer; /* of a boolean 0 or 1 */
    double number;
  };
  pk_slice bytes;    /* of a text its UTF-8; of others their encoding in the frame */
} pk_value;

/* What a change to a request or an answer is about. */
enum { PK_EDIT_HEADER = 0, PK_EDIT_SERVICE, PK_EDIT_METHOD, PK_EDIT_VERSION, PK_EDIT_GROUP };

typedef struct pk_edit {
  uint32_t what;  /* PK_EDIT_* */
  pk_slice key;   /* of a header */
  pk_slice value; /* text (UTF-8); a header whose value has no data is taken out */
} pk_edit;

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
  uint32_t reply_max; /* bytes that heartbeat, drain, greeting, and error with a text of 512 bytes
                         need at most */

  /* Can a connection that starts with these bytes be this protocol?
   * PK_OK yes; PK_MORE not yet known; PK_ERR_MAGIC no. Must refuse at the first wrong byte. */
  int (*probe)(const pk_codec *, const uint8_t *data, size_t size);

  /* Frame the first message in data[0..size), size >= 1. `limit` is the largest frame allowed.
   * PK_OK (whole frame present, *out filled), PK_MORE (out->need), or PK_ERR_* (out->error_at;
   * when out->kind is PK_KIND_REQUEST the id and context are valid and can be answered; with
   * PK_ERR_LIMIT, PK_KIND_RESPONSE and a valid id only the call of that answer fails). A connection's
   * frames are asked for in order, each again only after PK_MORE: what out->state holds then says where
   * to go on. */
  int (*frame)(const pk_codec *, const uint8_t *data, size_t size, uint32_t limit, pk_frame *out);

  /* Service, method, version, group of a whole REQUEST or ONEWAY frame.
   * PK_OK; PK_ERR_FORMAT (malformed) and PK_ERR_LIMIT (the receiver may read more of it than this
   * codec does): answered BAD_REQUEST, naming the service and method that are in *out;
   * PK_ERR_UNSUPPORTED (a variant of which nothing can be read: only a rule that asks for nothing
   * takes it). */
  int (*destination)(const pk_codec *, const uint8_t *data, const pk_frame *, pk_destination *out);

  /* The next header (attachment) of a request or a response. PK_OK; PK_MORE no further ones; PK_ERR_*. */
  int (*next_header)(const pk_codec *, const uint8_t *data, const pk_frame *, pk_cursor *,
                     pk_header *out);

  /* Write `id` into the frame, and whatever covers it (checksums): of a multiplexed protocol. NULL where there are
   * ids that cannot be rewritten: each client then gets an upstream connection of its own, as with `pinned`. */
  void (*patch_id)(const pk_codec *, uint8_t *data, const pk_frame *, uint64_t id);

  /* Build a heartbeat request; 0 when the protocol has none. */
  int (*heartbeat)(const pk_codec *, uint64_t id, uint32_t upstream_key, uint8_t *out, size_t cap);

  /* Build the answer to the received heartbeat `data`. `cap` is at least frame->size. */
  int (*heartbeat_ack)(const pk_codec *, const uint8_t *data, const pk_frame *, uint8_t *out,
                       size_t cap);

  /* Build the signal "send no new requests here"; 0 when the protocol has none. The context is
   * that of the last frame received on the connection, `kept` of its last request. */
  int (*drain)(const pk_codec *, const pk_reply *, uint8_t *out, size_t cap);

  /* Build the answer that makes the caller raise reply->status, with a text that a person reads; 0 when the
   * protocol has none: the client's connection is closed. */
  int (*error)(const pk_codec *, const pk_reply *reply, uint8_t *out, size_t cap);

  /* Write the whole request or response with changes: what they do not name stays byte for byte, and
   * lengths and checksums over it are made right. A later change of the same thing wins. The id stays.
   * NULL where the protocol cannot. PK_ERR_UNSUPPORTED when this frame cannot be changed so. */
  int (*edit)(const pk_codec *, const uint8_t *data, const pk_frame *, const pk_edit *edits,
              uint32_t count, uint8_t *out, size_t cap);

  /* What peers say before requests: so many steps (PK_GREETING_STEPS at most), a PK_KIND_GREETING frame
   * each; step n is the server's where bit n of greeting_server is set, else the client's. The engine is the
   * server towards clients and the client towards servers. One with a status above PK_STATUS_APP_ERROR
   * says no: the connection is over. */
  uint32_t greeting_steps, greeting_server;

  /* Build a step. `context` is that of the last frame received on the connection, or else the upstream
   * key; `said` the peer's last greeting, whole, and `f` what it is: NULL where there was none. 0: the step is left out,
   * and what goes with it. NULL where there are no steps. */
  int (*greeting)(const pk_codec *, uint32_t step, uint32_t context, const uint8_t *said, const pk_frame *f,
                  uint8_t *out, size_t cap);

  /* 1: a client's ids must stay, or its server calls it back: each client gets an upstream connection of
   * its own, as with mode: pinned. */
  uint32_t pinned;

  /* Ids that are byte strings, of at most id_max bytes (PK_ID_MAX at most; 0: ids are integers). id_fixed:
   * always of id_max bytes. Then id_bytes says how wide the engine's own numbers are, which it writes in
   * the form id_form (PK_ID_*); patch_id is not called, and the id given to heartbeat and error is 0: they
   * and heartbeat_ack build with any id, and the engine puts the right one in (splice_id). */
  uint32_t id_max, id_fixed, id_form;

  /* Write the whole frame with another id, and lengths and checksums over it made right. `cap` is
   * frame->size + id_max + PK_SPLICE_MORE. PK_ERR_UNSUPPORTED when the frame cannot have that id. NULL where ids
   * cannot be rewritten: of a multiplexed protocol each client then gets an upstream connection of its own, and error and
   * heartbeat_ack build with the id of what they answer (pk_reply.kept): with another one they are not said. */
  int (*splice_id)(const pk_codec *, const uint8_t *data, const pk_frame *, const uint8_t *id,
                   uint32_t id_size, uint8_t *out, size_t cap);

  /* 1: clients that do not know the signal of `drain` close the connection, so it is sent only where the
   * operator asks for it (the listener's `goaway`). 0: always. */
  uint32_t optional_drain;

  /* Bytes that framing keeps of each direction of a connection, up to PK_STATE_MAX: where it stopped in a frame, and
   * what the next one is. 0: a frame is told by its bytes alone. */
  uint32_t state_size;

  /* 1: the peer's end may end a frame: `frame` is asked once more then, with `ended`, also without any bytes
   * (size 0). PK_OK may then be of a piece without bytes. */
  uint32_t ends;

  /* Up to so many bytes (PK_KEEP_MAX at most) of a request are kept for its replies, as `keep` writes them. `size`
   * bytes of the frame are there, fewer than all where it is refused. NULL exactly where keep_max is 0. */
  uint32_t keep_max;
  int (*keep)(const pk_codec *, const uint8_t *data, size_t size, const pk_frame *, uint8_t *out, size_t cap);

  /* The answer's request is known: change what was framed of it (status, says). PK_OK; PK_ERR_*: it is
   * malformed, its connection is closed. NULL: nothing depends on the request. */
  int (*answer)(const pk_codec *, const uint8_t *data, pk_frame *, const pk_reply *asked);

  /* A header by its key, of a request or a response; what next_header gives under that key (of several the last).
   * PK_OK; PK_MORE: there is none; PK_ERR_*. NULL: they are gone through. */
  int (*header)(const pk_codec *, const uint8_t *data, const pk_frame *, pk_slice key, pk_header *out);

  /* An argument of a request's call, from 0. PK_OK; PK_MORE: it has no such argument; PK_ERR_*: it cannot be
   * read. NULL: arguments cannot be read. */
  int (*argument)(const pk_codec *, const uint8_t *data, const pk_frame *, uint32_t index, pk_value *out);

  /* Bit n: who says step n of the greeting may leave it out. A client that asks instead has done so; what a server
   * leaves out is told by the step that it says instead (greeting_step). */
  uint32_t greeting_optional;

  /* 1: PK_KIND_GREETING frames are not the engine's to say, but passed on as they are between a client and its own
   * connection, as many as there are. Only where `pinned` is 1; there are no greeting_steps then.
   * PK_RELAYED_SERVER_FIRST: and a client waits for what its server says first; where no server can be reached it is
   * closed at once. */
  uint32_t greeting_relayed;

  /* Bit n: step n goes with the one in front of it, which may be left out: then this one is, too. */
  uint32_t greeting_with;

  /* Which step the peer's greeting is: `step`, whose turn it is, or a later one of that side's: those between are left
   * out. PK_ERR_*: it is none of them. NULL: it is `step`. */
  int (*greeting_step)(const pk_codec *, uint32_t step, const uint8_t *data, const pk_frame *);

  /* Write the whole request with `ms` (1 at least) as its caller's budget, wherever its server looks for one; all else
   * stays byte for byte, and lengths and checksums are made right. `cap` is frame->size + PK_BUDGET_MORE.
   * PK_ERR_UNSUPPORTED when this frame has no place for it. NULL: none has. */
  int (*budget)(const pk_codec *, const uint8_t *data, const pk_frame *, uint32_t ms, uint8_t *out, size_t cap);

  /* Those headers of a request that are asked for, in one pass: as `header` gives each. found->there comes 0. PK_OK;
   * PK_ERR_*: each is asked for by itself instead. NULL: they are gone through with next_header. */
  int (*headers)(const pk_codec *, const uint8_t *data, const pk_frame *, const pk_wanted *, pk_headers *found);

  /* `destination` and `headers` in one pass, for a codec that meets headers on the way to the destination; the results of
   * `destination`. found->there and `same` come 0. Where it knows the request's destination and headers from an earlier one, it
   * may give these two a number in found->same, below PK_SAID_TOO, which no others get in this process, and leave the headers out;
   * or, best where they are to be `filled`, give them and set PK_SAID_TOO. Nothing is wanted: NULL. NULL: headers are read when somebody needs one. */
  int (*destination_headers)(const pk_codec *, const uint8_t *data, const pk_frame *, pk_destination *out,
                             const pk_wanted *, pk_headers *found);

  /* What stands inside of an argument: behind `count` keys (1 to PK_INSIDE_KEYS), each a field's name, a map's key (UTF-8; of
   * an integer its digits) or in a list an index from 0. Of several under one key the last. PK_OK; PK_MORE: nothing
   * stands there; PK_ERR_*: it cannot be read, or what is may be another than its receiver takes. NULL: no argument can be
   * looked into. */
  int (*inside)(const pk_codec *, const uint8_t *data, const pk_frame *, uint32_t index, const pk_slice *keys,
                uint32_t count, pk_value *out);
};

enum { PK_INSIDE_KEYS = 16 };

#define PK_STATE_MAX 4096u
#define PK_KEEP_MAX 256u

enum { PK_BUDGET_MORE = 256 }; /* bytes that a budget may take besides */

#define PK_SPLICE_MORE 16u /* bytes that lengths in front of a longer id may take besides */

#define PK_GREETING_STEPS 16u

/* Whether the plugin was built with a pk_codec that has the field. */
#define PK_CODEC_HAS(codec, field) \
  ((codec)->size >= offsetof(pk_codec, field) + sizeof((codec)->field))

/* One extraction that a declared wire format cannot say: find up to `count` texts in a section. `out`
 * comes with no data; what is not found stays so. `arguments` are constants of the declaration.
 * PK_OK; PK_ERR_LIMIT: the receiver may find more than the step reads, and the request is refused;
 * other PK_ERR_*: nothing was found. The same rules hold as for a codec's functions. */
typedef int (*pk_step)(const uint8_t *section, size_t size, const pk_slice *arguments,
                       uint32_t argument_count, pk_slice *out, uint32_t count);

/* How long a value of a declared section is that says so itself, `size` bytes of which are there. *state
 * comes 0 and is given again with more bytes: where to go on. PK_OK and *out: its size, which may be more than is
 * there; PK_MORE and *out: so many bytes are needed at least; PK_ERR_*. `size` is 1 at least. */
typedef int (*pk_measure)(const uint8_t *at, size_t size, const pk_slice *arguments, uint32_t argument_count,
                          uint64_t state[4], uint64_t *out);

#ifdef __cplusplus
}
#endif
#endif
