/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers of the page formats (blocks and segments) that are on disk and must not change. The bytes
 * are described in docs/format.md. All integers are little-endian.
 */
#ifndef KP_STORAGE_FORMAT_PAGE_H
#define KP_STORAGE_FORMAT_PAGE_H

#include <stdint.h>

#define KPI_VECTOR_ROWS 1024u /* values packed together; a decoder may start at any multiple */

/* --- block --- */

#define KPI_BLOCK_MAGIC        0x4b42504bu /* "KPBK" */
#define KPI_BLOCK_VERSION      1           /* what the log holds */
#define KPI_BLOCK_VERSION_2    2 /* sealed blocks: CLASS chunks, columns kept in a spine */
#define KPI_BLOCK_VERSION_3    3 /* joined blocks */
#define KPI_BLOCK_VERSION_4    4 /* cold blocks: RANGE chunks */
#define KPI_BLOCK_VERSION_5    5 /* cold blocks: durations in the spine */
#define KPI_BLOCK_VERSION_6    6 /* cold blocks: DIRECT chunks */
#define KPI_BLOCK_VERSION_7    7 /* sealed and cold blocks with linked strings */
#define KPI_BLOCK_VERSION_8    8 /* cold blocks: TICKS chunks */
#define KPI_BLOCK_HEADER       64u
#define KPI_BLOCK_LEVEL_HOT    0
#define KPI_BLOCK_LEVEL_SEALED 1
#define KPI_BLOCK_LEVEL_PAGED  2 /* sealed; chunks without bytes lie in the spine of the page */
#define KPI_BLOCK_LEVEL_JOINED 3 /* of the log: a spine and the blocks that need it in one */
#define KPI_SPINE_STREAM       0 /* stream number of a spine */
#define KPI_SPINE_LANES_MAX    1024u
#define KPI_BLOCK_ROWS_MAX     65536u
#define KPI_BLOCK_ACTORS_MAX   65536u
#define KPI_BLOCK_ALIGN        8u
#define KPI_CHUNK_BYTES_MAX    (64u << 20) /* of one column before compression */

enum kpi_block_at {
    KPI_BLOCK_AT_MAGIC = 0,
    KPI_BLOCK_AT_VERSION = 4,
    KPI_BLOCK_AT_STREAM = 5,
    KPI_BLOCK_AT_COLUMNS = 6,
    KPI_BLOCK_AT_LEVEL = 7,
    KPI_BLOCK_AT_SUM = 8, /* XXH3-64 of [16, size), seeded with bytes 0..7 */
    KPI_BLOCK_AT_SIZE = 16,
    KPI_BLOCK_AT_ROWS = 20,
    KPI_BLOCK_AT_TS_MIN = 24,
    KPI_BLOCK_AT_TS_MAX = 32,
    KPI_BLOCK_AT_SEQ_MIN = 40,
    KPI_BLOCK_AT_SEQ_MAX = 48,
    KPI_BLOCK_AT_DIRECTORY = 56, /* bytes of the directory of chunk sizes */
    KPI_BLOCK_AT_ACTORS = 60,    /* actors in the local table */
};

/* First byte of a chunk. */
enum kpi_chunk {
    KPI_CHUNK_CONST = 0,
    KPI_CHUNK_RAW = 1,
    KPI_CHUNK_PACK = 2,
    KPI_CHUNK_DELTA = 3,
    KPI_CHUNK_RLE = 4,
    KPI_CHUNK_DICT = 5,
    KPI_CHUNK_PLANES = 6,
    KPI_CHUNK_DELTA_PLANES = 7,
    KPI_CHUNK_CLASS = 8,
    KPI_CHUNK_RANGE = 9,
    KPI_CHUNK_DIRECT = 10,
    KPI_CHUNK_TICKS = 11,
    KPI_CHUNK_STR_CONST = 16,
    KPI_CHUNK_STR_DICT = 17,
    KPI_CHUNK_STR_RAW = 18,
    KPI_CHUNK_RECENT = 19, /* linked strings: RECENT, ROW, FILLED */
    KPI_CHUNK_ROW = 20,
    KPI_CHUNK_FILLED = 21,
    KPI_CHUNK_ACTORS = 32,
    KPI_CHUNK_LANES = 33,
    KPI_CHUNK_GROUPS = 34,
    KPI_CHUNK_ACTORS_BOOT = 35,  /* actors and their boots */
    KPI_CHUNK_JOINED = 36,       /* body of a joined block */
    KPI_CHUNK_STEPS = 37,        /* RANGE under pairs of streams */
    KPI_CHUNK_DIRECT_STEPS = 38, /* DIRECT under them */
    KPI_CHUNK_TICK_STEPS = 39,   /* TICKS under them */
    KPI_CHUNK_TICK_DURS = 40,    /* TICKS of durations */
    KPI_CHUNK_ZSTD = 128,        /* flag: the rest is varint raw size and a zstd frame */
};

/* --- segment --- */

#define KPI_SEGMENT_MAGIC     0x314745534b504b00ull /* "\0KPKSEG1" */
#define KPI_SEGMENT_END_MAGIC 0x31444e454b504b00ull /* "\0KPKEND1" */
/* 1: no spines, 2: no sections, 3: lists and thread sets in the footer, 4: sets in it, 5: no
 * linked strings, 6: no TICKS */
#define KPI_SEGMENT_VERSION       7
#define KPI_SEGMENT_VERSION_PAGES 4 /* since then they are pages before it */
#define KPI_SEGMENT_VERSION_SETS  5 /* since then thread sets are a section */
#define KPI_SEGMENT_HEADER        64u
#define KPI_SEGMENT_TRAILER       64u
#define KPI_SEGMENT_TAIL          65536u /* first read of an opener */
#define KPI_SEGMENT_FOOTER_MAX    (256u << 20)
#define KPI_PAGE_ROWS_KERNEL      65536u
#define KPI_PAGE_ROWS_OWN         8192u
#define KPI_EXACT_MAX             32u /* EXACT columns over all streams */
#define KPI_EXACT_ENTRY           16u /* u64 hash, u32 block, u32 row */
#define KPI_EXACT_HEAD            32u /* in the footer, before fences */
#define KPI_REF_BYTES             72u /* fixed part of a block's entry */
#define KPI_SECTION_BYTES         32u /* of a section's entry */
#define KPI_SECTION_ROLLUP        1u  /* its kind */
#define KPI_SECTION_SETS          2u
#define KPI_EXACT_SEED            0x6b70657861637431ull /* "kpexact1" */

enum kpi_ref_at {
    KPI_REF_AT_OFFSET = 0,
    KPI_REF_AT_SUM = 8,
    KPI_REF_AT_TS_MIN = 16,
    KPI_REF_AT_TS_MAX = 24,
    KPI_REF_AT_SEQ_MIN = 32,
    KPI_REF_AT_SEQ_MAX = 40,
    KPI_REF_AT_SIZE = 48,
    KPI_REF_AT_ROWS = 52,
    KPI_REF_AT_PAGE = 56,
    KPI_REF_AT_STREAM = 60,
    KPI_REF_AT_SETS = 61,
};

enum kpi_segment_at { /* header */
                      KPI_SEGMENT_AT_MAGIC = 0,
                      KPI_SEGMENT_AT_VERSION = 8,
                      KPI_SEGMENT_AT_FEATURES = 12,
                      KPI_SEGMENT_AT_ID = 16,
                      KPI_SEGMENT_AT_SUM = 56, /* XXH3-64 of [0, 56) */
};

enum kpi_trailer_at {
    KPI_TRAILER_AT_MAGIC = 0,
    KPI_TRAILER_AT_VERSION = 8,
    KPI_TRAILER_AT_FEATURES = 12,
    KPI_TRAILER_AT_ID = 16,
    KPI_TRAILER_AT_FOOTER = 24,
    KPI_TRAILER_AT_FOOTER_SIZE = 32,
    KPI_TRAILER_AT_FOOTER_HASH = 40, /* XXH3-128 of the footer, seeded with id and place */
    KPI_TRAILER_AT_SUM = 56,         /* XXH3-64 of [0, 56) */
};

#endif
