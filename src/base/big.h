/* SPDX-License-Identifier: Apache-2.0
 *
 * Big pieces of memory, for columns and what is decoded: those of a few 100 KiB that come and go a
 * thousand times in a question. malloc gives them back to the kernel each time, which then clears
 * 4 KiB at a time; here they come from regions in huge pages and are used again.
 */
#ifndef KP_BASE_BIG_H
#define KP_BASE_BIG_H

#include <stddef.h>

/* Pieces are multiples of this; less than that is better asked of malloc. */
#define KP_BIG_GRAIN ((size_t)64 * 1024)

/* At least so many bytes, aligned as malloc does, not zeroed; NULL: out of memory. Any thread. */
void *kp_big_alloc(size_t bytes);
/* Of kp_big_alloc only; NULL is nothing. Any thread. */
void kp_big_free(void *piece);
/* What kp_big_alloc gives for so many bytes. */
size_t kp_big_round(size_t bytes);

#endif
