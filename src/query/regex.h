/* SPDX-License-Identifier: Apache-2.0
 *
 * The seam to PCRE2. Patterns are compiled once; every search is bounded in steps, depth and
 * memory, so that no pattern can hold a query up: beyond the limits the query ends with LIMIT.
 */
#ifndef KP_QUERY_REGEX_H
#define KP_QUERY_REGEX_H

#include "query/query_int.h"

struct kpi_regex;

/* A compiled pattern in the query's arena; NULL with the error set. Text that is no UTF-8 is
 * searched nevertheless: bad bytes match nothing. */
struct kpi_regex *kpi_regex_compile(struct kpi_ctx *ctx, struct kp_str pattern,
                                    struct kpi_place place);
/* Leftmost match at or after byte `from`: number of groups + 1, or 0. Past a limit 0 with the error
 * set. */
uint32_t kpi_regex_search(struct kpi_ctx *ctx, struct kpi_regex *regex, struct kp_str text,
                          uint32_t from);
/* Bytes of a group of the last match, 0 = all of it; false when the group took no part. */
bool kpi_regex_group(const struct kpi_regex *regex, uint32_t group, uint32_t *out_from,
                     uint32_t *out_to);
/* Number of a named group, 0 when there is none. */
uint32_t kpi_regex_named(const struct kpi_regex *regex, struct kp_str name);
/* Groups in the pattern. */
uint32_t kpi_regex_groups(const struct kpi_regex *regex);

#endif
