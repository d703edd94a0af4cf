/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that runs out where a test says: every allocation of this program's own code is counted,
 * and from the n-th on they fail, once or for ever. Works in programs that are linked with
 * --wrap=malloc and so on (see the Makefile); libraries keep their memory.
 */
#ifndef KP_TESTS_MEMORY_H
#define KP_TESTS_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

struct kp_io;

/* From now on the nth allocation of any thread fails; lasting: so do all after it. */
void memory_fail(uint64_t nth, bool lasting);
/* Memory is there again. True when an allocation failed meanwhile. */
bool memory_back(void);

/* The table of another backend, whose own memory never fails. One at a time. */
const struct kp_io *memory_spares(const struct kp_io *io);

#endif
