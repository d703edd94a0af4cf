/* SPDX-License-Identifier: Apache-2.0
 *
 * Column types: what a value means (kp_type) and how a vector of it lies in memory (kp_phys).
 */
#ifndef KP_COLUMN_TYPE_H
#define KP_COLUMN_TYPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/decimal.h"
#include "base/str.h"
#include "base/time.h"

enum kp_type {
    KP_TYPE_BOOL, /* 0 or 1 */
    KP_TYPE_I64,
    KP_TYPE_F64,
    KP_TYPE_STR,
    KP_TYPE_TIME,  /* kp_time */
    KP_TYPE_DUR,   /* kp_dur */
    KP_TYPE_ACTOR, /* kp_actor_id; storage and causal only, queries see its attributes */
    KP_TYPE_ENUM,  /* number with a table of names; queries see the name as a string */
    KP_TYPE_DYN,   /* JSON text */
    KP_TYPE_DEC,   /* kp_dec */
    KP_TYPE_NULL,  /* type of a bare null literal */
};

/* Memory layout of a vector's values. */
enum kp_phys { KP_PHYS_I64, KP_PHYS_F64, KP_PHYS_STR, KP_PHYS_I128 };

enum kp_unit {
    KP_UNIT_NONE,
    KP_UNIT_NS,
    KP_UNIT_BYTES,
    KP_UNIT_PAGES,
    KP_UNIT_COUNT,
    KP_UNIT_HEX, /* print as 0x... in text */
    KP_UNIT_ID,  /* never summed or scaled */
    KP_UNIT_SECTORS,
    KP_UNIT_PERCENT,
};

static inline enum kp_phys kp_type_phys(enum kp_type type)
{
    switch (type) {
    case KP_TYPE_F64:
        return KP_PHYS_F64;
    case KP_TYPE_STR:
    case KP_TYPE_DYN:
        return KP_PHYS_STR;
    case KP_TYPE_DEC:
        return KP_PHYS_I128;
    default:
        return KP_PHYS_I64;
    }
}
/* KQL's name of a type: "bool long real string datetime timespan dynamic decimal". */
const char *kp_type_name(enum kp_type type);
const char *kp_unit_name(enum kp_unit unit);

#endif
