/* SPDX-License-Identifier: Apache-2.0 */
#include "column/type.h"

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
