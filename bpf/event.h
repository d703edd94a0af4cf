/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Records on the wire between kernel and user space: a fixed header, then the columns of the
 * stream in catalogue order. Derived from src/column/catalogue.def; nothing here is listed twice.
 * Included by the BPF programs (after core.h), by src/ingest/decode.c and the source_* files only.
 */
#ifndef KP_BPF_EVENT_H
#define KP_BPF_EVENT_H

#ifndef __bpf__
#include <stdint.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
#endif

#include "column/catalogue.def"

/* Version of the record layout; decode.c refuses others. */
#define KP_RECORD_VERSION 1

/* 24 bytes, 8-aligned. `lost` is the running count of records this CPU could not deliver, so a loss
 * lies exactly between two records of a CPU whose counts differ. */
struct kp_record {
    u64 mono; /* CLOCK_MONOTONIC ns: the instant the event was complete */
    u32 tid;  /* thread the event happened in (TASK: the thread it is about) */
    u32 tgid; /* its process */
    u32 lost; /* records lost on this CPU so far, modulo 2^32 */
    u16 cpu;
    u8 kind;    /* stream number of the catalogue */
    u8 version; /* KP_RECORD_VERSION */
};

/* How one wire field is declared. */
#define KP_WIRE_u8(name)        u8 name;
#define KP_WIRE_u16(name)       u16 name;
#define KP_WIRE_u32(name)       u32 name;
#define KP_WIRE_u64(name)       u64 name;
#define KP_WIRE_s16(name)       s16 name;
#define KP_WIRE_s32(name)       s32 name;
#define KP_WIRE_s64(name)       s64 name;
#define KP_WIRE_CHARS_16(name)  char name[16];
#define KP_WIRE_CHARS_32(name)  char name[32];
#define KP_WIRE_CHARS_96(name)  char name[96];
#define KP_WIRE_CHARS_256(name) char name[256];
#define KP_WIRE_ADDR_16(name)   u8 name[16];
#define KP_WIRE_NOWIRE(name)

#define KP_WIRE_COLUMN(name, type, unit, wire, names, index, doc) KP_WIRE_##wire(name)

/* struct kp_record_<ID>: packed to the catalogue's layout, 8-aligned so that ring slots fit. */
#define KP_RECORD_STRUCT(ID)            \
    struct kp_record_##ID {             \
        struct kp_record head;          \
        KP_COLUMNS_##ID(KP_WIRE_COLUMN) \
    } __attribute__((packed, aligned(8)));

#define KP_RECORD_STREAM(ID, name, number, family, dflt, doc) KP_RECORD_STRUCT(ID)
KP_STREAMS(KP_RECORD_STREAM)
#undef KP_RECORD_STREAM

enum kp_stream_id {
#define KP_STREAM_ENUM(ID, name, number, family, dflt, doc) KP_STREAM_##ID = number,
    KP_STREAMS(KP_STREAM_ENUM)
#undef KP_STREAM_ENUM
};

_Static_assert(sizeof(struct kp_record) == 24, "record header");
_Static_assert(sizeof(struct kp_record_SCHED_SWITCH) == 40, "sched_switch record");
_Static_assert(sizeof(struct kp_record_SCHED_WAKING) == 40, "sched_waking record");

#endif
