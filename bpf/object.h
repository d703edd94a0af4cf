/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * What stands behind a descriptor of the current thread. Read without a lock: another thread may
 * close it meanwhile, and the answer is then that there is nothing, or what is there now.
 */
#ifndef KP_BPF_OBJECT_H
#define KP_BPF_OBJECT_H

#include "base.h"

#define ANON_INODE_MAGIC 0x09041934
#define MODE_SHIFT       12

/* OBJ_KIND of the catalogue */
enum {
    OBJ_NONE,
    OBJ_FILE,
    OBJ_DIR,
    OBJ_CHAR,
    OBJ_BLOCK,
    OBJ_PIPE,
    OBJ_SOCKET,
    OBJ_ANON,
    OBJ_EVENTFD,
    OBJ_EPOLL,
    OBJ_TIMERFD
};

struct kp_object {
    struct file *file;
    u64 id;
    u32 dev;
    u8 kind;
};

static __always_inline struct file *kp_file(u32 fd)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct fdtable *table = BPF_CORE_READ(task, files, fdt);
    struct file **files = BPF_CORE_READ(table, fd), *file = NULL;

    if (!files || fd >= BPF_CORE_READ(table, max_fds))
        return NULL;
    bpf_probe_read_kernel(&file, sizeof(file), files + fd);
    return file;
}

/* All anonymous files share one inode; their name says what they are. */
static __always_inline u8 kp_anon_kind(const struct file *file)
{
    u64 name = 0;

    bpf_probe_read_kernel(&name, sizeof(name), BPF_CORE_READ(file, f_path.dentry, d_name.name));
    if (name == *(const u64 *)"[eventfd")
        return OBJ_EVENTFD;
    if (name == *(const u64 *)"[eventpo")
        return OBJ_EPOLL;
    return name == *(const u64 *)"[timerfd" ? OBJ_TIMERFD : OBJ_ANON;
}

static __always_inline u8 kp_mode_kind(u16 mode)
{
    switch (mode >> MODE_SHIFT) {
    case 1:
        return OBJ_PIPE;
    case 2:
        return OBJ_CHAR;
    case 4:
        return OBJ_DIR;
    case 6:
        return OBJ_BLOCK;
    case 8:
        return OBJ_FILE;
    case 12:
        return OBJ_SOCKET;
    default:
        return OBJ_ANON;
    }
}

static __always_inline void kp_object_of(struct file *file, struct kp_object *out)
{
    struct inode *inode = BPF_CORE_READ(file, f_inode);

    if (!inode)
        return;
    out->file = file;
    out->dev = BPF_CORE_READ(inode, i_sb, s_dev);
    out->id = BPF_CORE_READ(inode, i_ino);
    out->kind = kp_mode_kind(BPF_CORE_READ(inode, i_mode));
    if (BPF_CORE_READ(inode, i_sb, s_magic) == ANON_INODE_MAGIC) {
        out->kind = kp_anon_kind(file);
        out->id = (u64)BPF_CORE_READ(file, private_data);
    }
}

#endif
