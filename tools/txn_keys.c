/* SPDX-License-Identifier: Apache-2.0 */
#include "txn_keys.h"

#include <stdio.h>
#include <string.h>

kp_status kpi_txn_keys_parse(const char *list, struct kpi_txn_keys *out, struct kp_error *err)
{
    memset(out, 0, sizeof(*out));
    if (list == NULL)
        return KP_OK;
    if (strlen(list) >= sizeof(out->text))
        return kp_error_set(err, KP_USAGE, "the list of transaction keys is too long");
    snprintf(out->text, sizeof(out->text), "%s", list);
    for (char *at = out->text; at != NULL;) {
        char *comma = strchr(at, ',');
        if (comma != NULL)
            *comma = '\0';
        if (at[0] == '\0')
            return kp_error_set(err, KP_USAGE, "an empty name in the transaction keys '%s'", list);
        if (out->count == KPI_TXN_KEYS_MAX)
            return kp_error_set(err, KP_USAGE, "more than %d transaction keys", KPI_TXN_KEYS_MAX);
        out->names[out->count++] = at;
        at = comma != NULL ? comma + 1 : NULL;
    }
    return KP_OK;
}
