/* SPDX-License-Identifier: Apache-2.0
 *
 * What the terminal can do, decided once: width from the kernel (from COLUMNS where there is no
 * terminal, unlimited without it), colour unless NO_COLOR, TERM=dumb or no terminal says otherwise,
 * UTF-8 from the locale (and assumed where nobody looks: a pipe).
 */
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "render/render.h"

#define WIDTH_LIMIT 10000

static bool color_wanted(void)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    if (no_color != NULL && no_color[0] != '\0')
        return false;
    return term != NULL && term[0] != '\0' && strcmp(term, "dumb") != 0;
}

struct kp_term kp_term_detect(int fd)
{
    struct kp_term term = {.utf8 = true};
    const char *columns = getenv("COLUMNS");
    if (!isatty(fd)) {
        /* shells do not export it, so somebody wants text of that width */
        term.width = columns == NULL ? 0 : (uint32_t)(strtoul(columns, NULL, 10) % WIDTH_LIMIT);
        return term;
    }
    struct winsize size;
    term.width = 80;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        term.width = size.ws_col;
    term.color = color_wanted();
    term.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    return term;
}
