/* SPDX-License-Identifier: Apache-2.0
 *
 * Recordings and answers of others, which are not part of this project: below the folder KP_SHARED.
 */
#ifndef KP_TESTS_SHARED_H
#define KP_TESTS_SHARED_H

#include <jansson.h>
#include <stdbool.h>

/* True when the folder is there; else says that nothing is compared. */
bool shared_there(void);
/* Path of a file below its data; valid until the next but three. */
const char *shared_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A JSON document; the test fails when it is none. */
json_t *shared_json(const char *path);

#endif
