/* SPDX-License-Identifier: Apache-2.0
 *
 * The version of this build.
 */
#ifndef KP_BASE_VERSION_H
#define KP_BASE_VERSION_H

/* What git describe said when the programs were linked; never NULL. */
const char *kp_version(void);

#endif
