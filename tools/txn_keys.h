/* SPDX-License-Identifier: Apache-2.0
 *
 * The --txn-keys list: names of span attributes that carry the transaction id.
 */
#ifndef KP_TOOLS_TXN_KEYS_H
#define KP_TOOLS_TXN_KEYS_H

#include "base/status.h"

#define KPI_TXN_KEYS_MAX 16

struct kpi_txn_keys {
    char text[1024];
    const char *names[KPI_TXN_KEYS_MAX]; /* into text */
    uint32_t count;                      /* 0 = the defaults of ingest */
};

/* list "a,b" (NULL = none). USAGE: empty name, too many, too long. */
kp_status kpi_txn_keys_parse(const char *list, struct kpi_txn_keys *out,
                             struct kp_error *err) KP_MUST;

#endif
