/* SPDX-License-Identifier: Apache-2.0
 *
 * The subcommands of kpq.
 */
#include "base/assert.h"
#include "cmd.h"
#include "opts.h"

const struct kpi_command kpi_commands[] = {
    {"record", kp_cmd_record, KPI_RECORD,
     "record this machine's kernel events into a data directory"},
    {"import", kp_cmd_import, KPI_IMPORT,
     "take in a file of OpenTelemetry spans (OTLP JSON lines)"},
    {"verify", kp_cmd_verify, KPI_VERIFY,
     "re-read a data directory, check every sum and prove its seals"},
    {"checkpoint", kp_cmd_checkpoint, KPI_CHECKPOINT,
     "print the signed head of a data directory, to keep elsewhere"},
    {"inspect", kp_cmd_inspect, KPI_INSPECT,
     "describe one file of a data directory, damaged ones too"},
    {"hold", kp_cmd_hold, KPI_HOLD,
     "keep a time or a transaction from retention: add, list, release"},
    {"compact", kp_cmd_compact, KPI_COMPACT,
     "rewrite sealed data in the strongest coding, to archive it"},
    {"bench-disk", kp_cmd_bench_disk, KPI_BENCH_DISK,
     "measure how fast a disk makes writes durable"},
    {"demo", kp_cmd_demo, 0, "record a small payments stack and explain its slow payment"},
    {"completions", kp_cmd_completions, KPI_COMPLETIONS, "words for Tab in bash, zsh or fish"},
};
const uint32_t kpi_commands_count = KP_ARRAY_LEN(kpi_commands);
