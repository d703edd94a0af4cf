/* SPDX-License-Identifier: Apache-2.0
 *
 * `kpq checkpoint`: the signed head of a data directory, for a witness to keep. Only the note goes
 * to stdout; the key that verifies it, in the form of C2SP signed notes, to stderr.
 */
#include <stdio.h>

#include "cmd.h"
#include "session.h"
#include "storage/storage.h"

static const char help[] =
    "usage: kpq checkpoint DIR\n\n"
    "  kpq checkpoint /var/lib/kprobe > head.txt; kpq verify /var/lib/kprobe --head head.txt\n\n"
    "A C2SP checkpoint (signed note): origin, number of records, Merkle root, signature. Keep it\n"
    "where the recorded machine cannot change it. Works beside a running kpd.\n\n";

static kp_status print(const char *dir, struct kp_error *err)
{
    struct kp_buf note = {0}, signer = {0};
    kp_status status = kp_checkpoint_read(dir, NULL, &note, &signer, err);
    if (status == KP_OK && fwrite(note.data, 1, note.size, stdout) != note.size)
        status = kp_error_set(err, KP_IO, "cannot write the checkpoint");
    if (status == KP_OK)
        fprintf(stderr, "verifier key: %s\n", kp_buf_cstr(&signer));
    kp_buf_deinit(&note);
    kp_buf_deinit(&signer);
    return status;
}

int kp_cmd_checkpoint(int argc, char **argv)
{
    struct kpi_opts opts = {0};
    struct kp_error err = {0};
    kp_status status = kpi_opts_parse(argc, argv, KPI_CHECKPOINT, &opts, &err);
    if (status == KP_OK && kpi_opts_answered(&opts, help))
        return 0;
    if (status == KP_OK && opts.args_count != 1)
        status = kp_error_set(&err, KP_USAGE, "one data directory, please");
    if (status == KP_OK)
        status = print(opts.args[0], &err);
    return status == KP_OK ? 0 : kpi_tool_fail(&err, (struct kp_str){NULL, 0});
}
