/* SPDX-License-Identifier: Apache-2.0
 *
 * `kpq completions bash|zsh|fish`: what a shell needs to complete the words of kpq and kpd, made
 * from the same table as --help, so that it cannot lag behind. Words only, no values of a store:
 * a shell's completion must not open one.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "cmd.h"
#include "render/render.h"
#include "session.h"

static const char help[] = "usage: kpq completions bash|zsh|fish\n\n"
                           "  kpq completions bash > /etc/bash_completion.d/kpq\n"
                           "  kpq completions zsh  > \"${fpath[1]}/_kpq\"\n"
                           "  kpq completions fish > ~/.config/fish/completions/kpq.fish\n\n"
                           "make install puts them where the shells look.\n\n";

/* Every flag of a command, each preceded by "--". */
static void put_flags(unsigned command)
{
    for (int i = 0; i < KPI_OPT_COUNT; i++)
        if ((kpi_opt_table[i].commands & command) != 0)
            printf(" --%s", kpi_opt_table[i].name);
}

/* Whether a flag takes one of a few words. */
static bool has_choices(enum kpi_opt_id id)
{
    return id == KPI_OPT_FORMAT || id == KPI_OPT_PROGRESS || id == KPI_OPT_CAPTURE;
}

static void put_choices(enum kpi_opt_id id)
{
    if (id == KPI_OPT_PROGRESS)
        fputs("auto never always", stdout);
    else if (id == KPI_OPT_CAPTURE)
        fputs("auto on off", stdout);
    for (int i = 0; id == KPI_OPT_FORMAT && i < KP_FORMAT_COUNT; i++)
        printf("%s%s", i > 0 ? " " : "", kp_format_name((enum kp_format)i));
}

static void put_bash_choices(void)
{
    for (int i = 0; i < KPI_OPT_COUNT; i++) {
        const struct kpi_opt *opt = &kpi_opt_table[i];
        if (!has_choices((enum kpi_opt_id)i) || opt->arg[0] == '[')
            continue; /* what is optional follows "=", which is a word of its own here */
        printf("    --%s", opt->name);
        if (opt->letter != 0)
            printf("|-%c", opt->letter);
        fputs(") COMPREPLY=($(compgen -W '", stdout);
        put_choices((enum kpi_opt_id)i);
        fputs("' -- \"$cur\")); return ;;\n", stdout);
    }
}

/* Text for single quotes of a shell; zsh's descriptions must not hold a bracket or a colon. */
static void put_quoted(const char *text, const char *avoid)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (strchr(avoid, *text) != NULL)
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static void put_bash(void)
{
    fputs("# bash completion of kpq and kpd\n"
          "_kpq() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} flags\n"
          "    COMPREPLY=()\n"
          "    case $prev in\n",
          stdout);
    put_bash_choices();
    fputs("    esac\n"
          "    case ${COMP_WORDS[0]##*/}/${COMP_WORDS[1]} in\n"
          "    kpd/*) flags='",
          stdout);
    put_flags(KPI_KPD);
    fputs("' ;;\n", stdout);
    for (uint32_t i = 0; i < kpi_commands_count; i++) {
        printf("    kpq/%s) flags='", kpi_commands[i].name);
        put_flags(kpi_commands[i].bits);
        fputs("' ;;\n", stdout);
    }
    fputs("    *) flags='", stdout);
    put_flags(KPI_QUERY);
    fputs("' ;;\n    esac\n"
          "    if [[ $cur == -* ]]; then\n"
          "        COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n"
          "        return\n"
          "    fi\n"
          "    COMPREPLY=($(compgen -f -- \"$cur\"))\n"
          "    if [[ ${COMP_WORDS[0]##*/} == kpq && $COMP_CWORD == 1 ]]; then\n"
          "        COMPREPLY+=($(compgen -W '",
          stdout);
    for (uint32_t i = 0; i < kpi_commands_count; i++)
        printf(" %s", kpi_commands[i].name);
    fputs("' -- \"$cur\"))\n"
          "    fi\n"
          "}\n"
          "complete -o filenames -F _kpq kpq kpd\n",
          stdout);
}

static void put_zsh_flags(unsigned command)
{
    fputs("        _arguments -s", stdout);
    for (int i = 0; i < KPI_OPT_COUNT; i++) {
        const struct kpi_opt *opt = &kpi_opt_table[i];
        if ((opt->commands & command) == 0)
            continue;
        printf(" \\\n            '--%s%s[", opt->name, opt->arg[0] == '\0' ? "" : "=");
        put_quoted(opt->help, "[]:");
        putchar(']');
        if (has_choices((enum kpi_opt_id)i)) {
            fputs(opt->arg[0] == '[' ? "::word:(" : ":word:(", stdout);
            put_choices((enum kpi_opt_id)i);
            putchar(')');
        } else if (opt->arg[0] != '\0') {
            fputs(":value:_files", stdout);
        }
        putchar('\'');
    }
    fputs(" \\\n            '*:file:_files'\n", stdout);
}

static void put_zsh(void)
{
    fputs("#compdef kpq kpd\n"
          "_kpq() {\n"
          "    local -a commands=(\n",
          stdout);
    for (uint32_t i = 0; i < kpi_commands_count; i++) {
        printf("        '%s:", kpi_commands[i].name);
        put_quoted(kpi_commands[i].what, ":");
        fputs("'\n", stdout);
    }
    fputs("    )\n"
          "    if [[ $service == kpq && $CURRENT == 2 && $words[2] != -* ]]; then\n"
          "        _describe command commands\n"
          "        _files\n"
          "        return\n"
          "    fi\n"
          "    case $service/$words[2] in\n"
          "    kpd/*)\n",
          stdout);
    put_zsh_flags(KPI_KPD);
    fputs("        ;;\n", stdout);
    for (uint32_t i = 0; i < kpi_commands_count; i++) {
        printf("    kpq/%s)\n", kpi_commands[i].name);
        put_zsh_flags(kpi_commands[i].bits);
        fputs("        ;;\n", stdout);
    }
    fputs("    *)\n", stdout);
    put_zsh_flags(KPI_QUERY);
    fputs("        ;;\n    esac\n}\n_kpq \"$@\"\n", stdout);
}

static void put_fish_flags(const char *program, const char *when, unsigned command)
{
    for (int i = 0; i < KPI_OPT_COUNT; i++) {
        const struct kpi_opt *opt = &kpi_opt_table[i];
        if ((opt->commands & command) == 0)
            continue;
        printf("complete -c %s", program);
        if (when[0] != '\0')
            printf(" -n '%s'", when);
        printf(" -l %s", opt->name);
        if (opt->letter != 0)
            printf(" -s %c", opt->letter);
        if (opt->arg[0] != '\0' && opt->arg[0] != '[')
            fputs(" -r", stdout);
        if (has_choices((enum kpi_opt_id)i)) {
            fputs(" -f -a '", stdout);
            put_choices((enum kpi_opt_id)i);
            putchar('\'');
        }
        fputs(" -d '", stdout);
        put_quoted(opt->help, "");
        fputs("'\n", stdout);
    }
}

static void put_fish(void)
{
    fputs("# fish completion of kpq and kpd\n", stdout);
    for (uint32_t i = 0; i < kpi_commands_count; i++) {
        printf("complete -c kpq -n __fish_use_subcommand -a %s -d '", kpi_commands[i].name);
        put_quoted(kpi_commands[i].what, "");
        fputs("'\n", stdout);
    }
    put_fish_flags("kpq", "__fish_use_subcommand", KPI_QUERY);
    for (uint32_t i = 0; i < kpi_commands_count; i++) {
        char when[96];
        snprintf(when, sizeof(when), "__fish_seen_subcommand_from %s", kpi_commands[i].name);
        put_fish_flags("kpq", when, kpi_commands[i].bits);
    }
    put_fish_flags("kpd", "", KPI_KPD);
}

static const struct {
    const char *name;
    void (*put)(void);
} shells[] = {{"bash", put_bash}, {"zsh", put_zsh}, {"fish", put_fish}};

int kp_cmd_completions(int argc, char **argv)
{
    struct kpi_opts opts = {0};
    struct kp_error err = {0};
    kp_status status = kpi_opts_parse(argc, argv, KPI_COMPLETIONS, &opts, &err);
    if (status == KP_OK && kpi_opts_answered(&opts, help))
        return 0;
    for (size_t i = 0; status == KP_OK && opts.args_count == 1 && i < KP_ARRAY_LEN(shells); i++) {
        if (strcmp(opts.args[0], shells[i].name) != 0)
            continue;
        shells[i].put();
        return 0;
    }
    if (status == KP_OK) {
        kp_error_set(&err, KP_USAGE, "for which shell?");
        kp_error_hint(&err, "kpq completions bash, zsh or fish");
    }
    return kpi_tool_fail(&err, (struct kp_str){NULL, 0});
}
