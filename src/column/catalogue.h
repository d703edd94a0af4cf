/* SPDX-License-Identifier: Apache-2.0
 *
 * The catalogue as data: streams, their stored columns, and the flat query columns derived from
 * them. Expanded from catalogue.def; read-only after first use and usable from any thread.
 *
 * A *stored* column is what storage keeps (an ACTOR is one id). A *query* column is what users
 * type: stored columns plus attributes of actors (next -> next_tid, next_pid, ...), `start`, `kind`
 * and `host`. Scans name query columns or stored actors by kp_colref.
 */
#ifndef KP_COLUMN_CATALOGUE_H
#define KP_COLUMN_CATALOGUE_H

#include "column/type.h"

enum kp_stream_no {
#define KP_STREAM_NO(ID, name, number, family, dflt, doc) KP_S_##ID = number,
#include "column/catalogue.def"
    KP_STREAMS(KP_STREAM_NO)
#undef KP_STREAM_NO
        KP_STREAM_MAX = 96
};

enum kp_family { KP_FAMILY_KERNEL, KP_FAMILY_OWN };
enum kp_index { KP_INDEX_NONE, KP_INDEX_EXACT, KP_INDEX_POSTING };

/* Stored columns common to every stream come first, in this order. */
enum { KP_COL_TS, KP_COL_SEQ, KP_COL_CPU, KP_COL_ACTOR, KP_COL_FIRST };
#define KP_STORED_MAX 24 /* stored columns of the widest stream, with room */

/* What of a stored column is wanted. Everything but SELF applies to ACTOR columns only, START to
 * dur. */
enum kp_attr {
    KP_ATTR_SELF, /* the stored value (for ACTOR: the kp_actor_id) */
    KP_ATTR_HOST,
    KP_ATTR_TID,
    KP_ATTR_PID,
    KP_ATTR_COMM,
    KP_ATTR_CGROUP,
    KP_ATTR_START, /* of a dur column: ts - dur */
    KP_ATTR_KIND,  /* name of the stream, as a string */
};

struct kp_name {
    int64_t value;
    const char *name;
};

struct kp_stored_column {
    const char *name;
    enum kp_type type;
    enum kp_unit unit;
    enum kp_index index;
    const struct kp_name *names; /* ENUM only; names_count entries sorted by value */
    uint32_t names_count;
    uint16_t wire_offset; /* in the kernel record; 0 = not on the wire */
    uint16_t wire_size;
    bool wire_signed;
    bool wire_addr; /* raw IP address */
    const char *doc;
};

struct kp_colref {
    uint8_t stored; /* index into kp_stream.stored */
    uint8_t attr;   /* enum kp_attr */
};

struct kp_query_column {
    const char *name;
    enum kp_type type; /* never ACTOR; ENUM shows as STR */
    enum kp_unit unit;
    struct kp_colref ref;
    const char *doc;
};

struct kp_stream {
    const char *name;
    uint8_t number;
    enum kp_family family;
    bool on_by_default;
    uint16_t record_size; /* of the kernel record, 0 = not from the kernel */
    uint8_t events;       /* of the kernel that a row stands for, and one more ... */
    uint8_t events_more;  /* ... where this stored column is not 0; 0 = none does that */
    const struct kp_stored_column *stored;
    uint32_t stored_count;
    const struct kp_query_column *columns;
    uint32_t columns_count;
    const char *doc;
};

/* All streams in catalogue order. */
const struct kp_stream *kp_streams(uint32_t *out_count);
/* All of the kernel's streams as one of their common columns and `kind`. It has number 0 and is not
 * in the list; scans can read it. */
const struct kp_stream *kp_stream_events(void);
/* By number or name; NULL when there is none. */
const struct kp_stream *kp_stream_by_number(uint32_t number);
const struct kp_stream *kp_stream_by_name(struct kp_str name);
/* A query column of a stream; NULL when there is none. */
const struct kp_query_column *kp_stream_column(const struct kp_stream *stream, struct kp_str name);
/* Index of a stored column by name, or -1. */
int kp_stream_stored(const struct kp_stream *stream, const char *name);
/* Name of an ENUM value ({NULL,0} when the table has none) and back (false when there is none). */
struct kp_str kp_enum_name(const struct kp_stored_column *column, int64_t value);
bool kp_enum_value(const struct kp_stored_column *column, struct kp_str name, int64_t *out);

#endif
