/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * What the programs need to know of the kernel: integer types, constants, and of each kernel struct
 * only the fields read. preserve_access_index makes every access a CO-RE relocation, so that one
 * object fits every kernel that has BTF and no generated vmlinux.h is needed. Bit fields stay in
 * the order of declaration but not next to their neighbours: the loader finds where they are.
 */
#ifndef KP_BPF_CORE_H
#define KP_BPF_CORE_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
/* the names that libbpf's headers use */
typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef s16 __s16;
typedef s32 __s32;
typedef s64 __s64;
typedef u16 __be16;
typedef u32 __be32;
typedef u32 __wsum;
typedef _Bool bool;
#define NULL ((void *)0)
#define true 1
#define false 0

enum {
    BPF_MAP_TYPE_HASH = 1,
    BPF_MAP_TYPE_ARRAY = 2,
    BPF_MAP_TYPE_LRU_HASH = 9,
    BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
    BPF_MAP_TYPE_RINGBUF = 27,
    BPF_MAP_TYPE_TASK_STORAGE = 29,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_F_NO_PREALLOC = 1, BPF_F_MMAPABLE = 1 << 10 };
enum { BPF_LOCAL_STORAGE_GET_F_CREATE = 1, BPF_RB_NO_WAKEUP = 1 };

#define __VMLINUX_H__ /* kernel names of registers in bpf_tracing.h */
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pt_regs {
    unsigned long r10, dx, si, di, orig_ax, ip;
};

struct list_head {
    struct list_head *next;
};

typedef struct {
    s64 counter;
} atomic_long_t;

/* --- tasks --- */

struct thread_info {
    u32 status; /* x86: bit 1 = in a 32-bit system call */
    u32 cpu;
};

struct cfs_rq {
    int throttle_count;
};

struct sched_entity {
    struct cfs_rq *cfs_rq;
};

struct mm_struct {
    unsigned long total_vm;
};

struct signal_struct {
    struct list_head thread_head;
};

struct css_set;
struct files_struct;

typedef struct cpumask {
    unsigned long bits[1];
} cpumask_t;

struct task_struct {
    struct thread_info thread_info;
    unsigned int __state;
    unsigned int flags;
    int prio;
    int normal_prio;
    struct sched_entity se;
    int nr_cpus_allowed;
    const cpumask_t *cpus_ptr;
    bool throttled; /* since 6.18; before, se.cfs_rq->throttle_count tells */
    struct mm_struct *mm;
    int exit_state;
    int exit_code;
    unsigned int in_iowait : 1;
    unsigned frozen : 1; /* by the freezer of cgroup version 2 */
    unsigned int in_memstall : 1;
    int pid;
    int tgid;
    struct task_struct *real_parent;
    struct list_head thread_node;
    u64 start_boottime;
    char comm[16];
    struct css_set *cgroups;
    struct files_struct *files;
    struct signal_struct *signal;
};

struct linux_binprm {
    const char *filename;
};

/* --- control groups --- */

enum cgroup_subsys_id { cpu_cgrp_id = 1, io_cgrp_id = 3, memory_cgrp_id = 4 };

struct kernfs_node {
    u64 id;
};

struct cgroup_root {
    int hierarchy_id;
};

struct cgroup_subsys_state;

struct cgroup {
    int level;
    struct kernfs_node *kn;
    struct cgroup_subsys_state *subsys[16];
    struct cgroup_root *root;
};

struct cgroup_subsys_state {
    struct cgroup *cgroup;
};

struct css_set {
    struct cgroup_subsys_state *subsys[16];
    struct cgroup *dfl_cgrp;
};

/* --- locks --- */

struct mutex {
    atomic_long_t owner;
};

struct rw_semaphore {
    atomic_long_t owner;
};

/* --- files --- */

struct super_block {
    u32 s_dev;
    unsigned long s_magic;
};

struct inode {
    u16 i_mode;
    struct super_block *i_sb;
    unsigned long i_ino;
};

struct address_space {
    struct inode *host;
};

struct qstr {
    const unsigned char *name;
};

struct dentry {
    struct qstr d_name;
};

struct path {
    struct dentry *dentry;
};

struct file {
    void *private_data;
    struct inode *f_inode;
    struct path f_path;
};

struct fdtable {
    unsigned int max_fds;
    struct file **fd;
};

struct files_struct {
    struct fdtable *fdt;
};

/* --- writing back --- */

struct device {
    u32 devt;
};

struct backing_dev_info {
    struct device *owner; /* the disk */
};

struct bdi_writeback {
    struct backing_dev_info *bdi;
};

struct block_device {
    u32 bd_dev;
};

typedef struct journal_s {
    struct block_device *j_fs_dev;
} journal_t;

typedef struct transaction_s {
    u32 t_tid;
} transaction_t;

struct work_struct {
    void *func;
};

/* --- block --- */

struct gendisk {
    int major;
    int first_minor;
};

struct request_queue {
    struct gendisk *disk;
};

struct request {
    struct request_queue *q;
    u32 cmd_flags;
    unsigned int __data_len;
    u64 __sector;
};

/* --- network --- */

struct in6_addr {
    u8 bytes[16];
};

struct ns_common {
    unsigned int inum;
};

struct net {
    struct ns_common ns;
};

typedef struct {
    struct net *net;
} possible_net_t;

struct sock_common {
    __be32 skc_daddr;
    __be32 skc_rcv_saddr;
    __be16 skc_dport;
    u16 skc_num;
    u16 skc_family;
    volatile u8 skc_state;
    possible_net_t skc_net;
    struct in6_addr skc_v6_daddr;
    struct in6_addr skc_v6_rcv_saddr;
};

struct socket;

struct sock {
    struct sock_common __sk_common;
    u16 sk_protocol;
    struct socket *sk_socket;
};

struct socket {
    struct sock *sk;
};

struct socket_alloc {
    struct socket socket;
    struct inode vfs_inode;
};

struct unix_sock {
    struct sock *peer;
};

struct tcp_sock {
    u32 srtt_us;
    u32 write_seq;
    u32 copied_seq;
};

struct sk_buff {
    char cb[48];
};

struct tcp_skb_cb {
    u32 seq;
};

/* --- interrupts, signals, memory --- */

struct irqaction {
    const char *name;
};

struct kernel_siginfo {
    int si_code;
};

struct compact_control {
    int order;
    u32 gfp_mask;
};

struct seq_file;

struct bpf_iter_meta {
    struct seq_file *seq;
};

struct bpf_iter__task {
    struct bpf_iter_meta *meta;
    struct task_struct *task;
};

#pragma clang attribute pop

#endif
