/* SPDX-License-Identifier: Apache-2.0
 *
 * Parts of kp_inspect: a file in memory and what each format makes of it. None of them fails: what
 * does not read is said in the text.
 */
#ifndef KP_STORAGE_INSPECT_H
#define KP_STORAGE_INSPECT_H

#include "storage/segment.h"

struct kpi_inspect_file {
    const char *path;
    const uint8_t *bytes;
    size_t size;
};

/* inspect_log.c */
void kpi_inspect_wal(const struct kpi_inspect_file *file, struct kp_buf *out);
void kpi_inspect_manifest(const struct kpi_inspect_file *file, struct kp_buf *out);
void kpi_inspect_super(const struct kpi_inspect_file *file, struct kp_buf *out);
/* inspect_chain.c */
void kpi_inspect_chain(const struct kpi_inspect_file *file, struct kp_buf *out);
void kpi_inspect_key(const struct kpi_inspect_file *file, struct kp_buf *out);
void kpi_inspect_checkpoint(const struct kpi_inspect_file *file, struct kp_buf *out);
/* inspect.c: one line about a block, "block at 64: sched_switch, 120 rows, 812 bytes, FROM .. TO".
 */
void kpi_inspect_block(const struct kpi_block *block, uint64_t offset, const char *remark,
                       struct kp_buf *out);

#endif
