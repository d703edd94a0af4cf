/* SPDX-License-Identifier: Apache-2.0
 *
 * The auditor's key of a store, written once to a file of its own.
 */
#ifndef KP_TOOLS_SEAL_KEY_H
#define KP_TOOLS_SEAL_KEY_H

#include "storage/storage.h"

/* Writes the key that verifies the seals from now on to path, readable by its owner only. A file
 * that is there already is left alone, so the flag may stand on every command line. NULL or "":
 * nothing to do. */
kp_status kpi_seal_key_write(struct kp_store *store, const char *path,
                             struct kp_error *err) KP_MUST;
/* A whole small text file, appended to out. */
kp_status kpi_text_file(const char *path, struct kp_buf *out, struct kp_error *err) KP_MUST;

#endif
