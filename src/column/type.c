/* SPDX-License-Identifier: Apache-2.0 */
#include "column/type.h"

enum kp_phys kp_type_phys(enum kp_type type)
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

const char *kp_type_name(enum kp_type type)
{
    static const char *const names[] = {"bool",     "long",     "real",  "string",
                                        "datetime", "timespan", "actor", "enum",
                                        "dynamic",  "decimal",  "null"};
    return names[type];
}

const char *kp_unit_name(enum kp_unit unit)
{
    static const char *const names[] = {"",    "ns", "bytes",   "pages",  "count",
                                        "hex", "id", "sectors", "percent"};
    return names[unit];
}
