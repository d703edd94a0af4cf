/* SPDX-License-Identifier: Apache-2.0
 *
 * The only file compiled again when nothing but the version changed.
 */
#include "base/version.h"

const char *kp_version(void)
{
    return KP_BUILD_VERSION;
}
