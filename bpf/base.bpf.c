// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The maps and settings that all programs share, once. Linked before the others (the Makefile goes
 * by name): the linker of libbpf 1.1 loses the place of a map whose use it sees before its
 * definition.
 */
#include "base.h"

const volatile struct kp_config config;
u32 own_tgid; /* the recorder, as the first pid namespace sees it; set by the task scan */

struct kp_rings rings SEC(".maps");
struct kp_cpus cpus SEC(".maps");
struct kp_tasks tasks SEC(".maps");

char LICENSE[] SEC("license") = "Dual BSD/GPL";
