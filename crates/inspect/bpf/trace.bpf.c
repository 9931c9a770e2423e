// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
//
// What processes say over TCP, and what they say to OpenSSL before it encrypts.
//
// Runs in the kernel. Each system call that writes to a socket or reads from one is looked at
// twice: when it begins, for where the process's bytes are and which of the stream they will be,
// and when it ends, for how many of them went. The same with SSL_write and SSL_read of OpenSSL;
// the socket that a thread uses meanwhile tells which connection an SSL object is for. Bytes go to
// the ring `events`, each piece behind a `struct head`. What goes by other ways (sendfile, splice,
// io_uring) is missed by its position in the stream.
//
// Like the rest this file is under the Apache License 2.0, or, as you choose, under the GPL 2.0:
// the kernel lends some of the functions used here to programs under the GPL only.

#include <asm/unistd.h>
#include <linux/bpf.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

// Those parts of the kernel's structs that are used; where they stand in the running kernel is
// found out when the programs are loaded.
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
    unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs,
        flags, sp, ss;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
    u64 regs[31], sp, pc, pstate;
};
struct pt_regs {
    struct user_pt_regs user_regs;
    u64 orig_x0;
};
#endif
struct in6_addr {
    u8 bytes[16];
};
struct sock_common {
    u32 skc_daddr;
    u32 skc_rcv_saddr;
    u16 skc_dport;
    u16 skc_family;
    struct in6_addr skc_v6_daddr;
    struct in6_addr skc_v6_rcv_saddr;
};
struct sock {
    struct sock_common __sk_common;
    u16 sk_protocol;
};
struct inet_sock {
    u16 inet_sport;
};
struct tcp_sock {
    u32 write_seq;
    u32 copied_seq;
};
struct socket {
    struct sock *sk;
};
struct inode {
    u16 i_mode;
};
struct file {
    struct inode *f_inode;
    void *private_data;
};
struct fdtable {
    u32 max_fds;
    struct file **fd;
};
struct files_struct {
    struct fdtable *fdt;
};
struct task_struct {
    struct task_struct *group_leader;
    struct files_struct *files;
    char comm[16];
};
#pragma clang attribute pop

// The names of registers are those of the kernel's struct.
#define __VMLINUX_H__
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

// Under which of the two the kernel runs it.
char LICENSE[] SEC("license") = "GPL";

// Most bytes of a piece; a power of two.
#define PIECE 16384
// Most pieces and segments of one call.
#define MAX_STEPS 8192
#define AF_INET 2
#define AF_INET6 10
#define MSG_PEEK 2
#define TCP_CLOSE 7
#define IPPROTO_TCP 6
#define S_IFMT 0170000
#define S_IFSOCK 0140000

// As processes give them to the kernel.
struct iovec {
    u64 base;
    u64 length;
};
struct user_msghdr {
    u64 name;
    u64 name_length;
    u64 segments;
};

// What a piece is.
enum { SENT = 0, RECEIVED = 1, CLOSED = 2, PLAIN = 4 };

// The two ends of a connection, in the order of bytes that addresses and ports have on the wire.
struct ends {
    u8 local[16];
    u8 remote[16];
    u16 local_port;
    u16 remote_port;
    u16 family;
    u16 unused;
};

// What stands before the bytes of a piece.
struct head {
    u64 time;     // nanoseconds of the monotonic clock
    u32 position; // of the first byte in its stream
    u32 length;   // of the bytes that follow
    u32 process;
    u32 kind;
    struct ends ends;
    char name[16]; // of the process
};

// How far the copying of a call's bytes has come.
struct copying {
    u64 segments; // where the next segment's description is, or 0
    u64 at;       // where the next byte is
    u64 in_segment;
    u64 left;
    u64 fill; // bytes in the piece
    u32 position;
};

// Where a piece is put together. How far one has come is kept here as well, and not on the stack:
// the kernel would follow its values through every step before it lets the program run.
struct piece {
    struct copying copying;
    struct head head;
    u8 bytes[2 * PIECE];
};

// A call that a thread is in.
struct call {
    u64 time;
    u64 segments; // where the array of segments is, or 0
    u64 buffer;   // where the only segment is
    struct ends ends;
    u32 position;
    u32 kind;
    u32 active;
};

struct thread {
    struct call socket;
    struct call ssl;
    u64 ssl_object;
    u64 ssl_count; // where SSL_read_ex and SSL_write_ex write how many bytes went
};

struct ssl_key {
    u64 object;
    u64 process;
};

struct ssl_connection {
    struct ends ends;
    u32 sent;
    u32 received;
};

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 25);
} events SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct thread);
} threads SEC(".maps");

// One for each processor.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, struct piece);
} pieces SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, struct ssl_key);
    __type(value, struct ssl_connection);
} ssl_connections SEC(".maps");

// Pieces and calls that found no room.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, u64);
} lost SEC(".maps");

// What is wanted, each if `wanted` says that it is asked for.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 65536);
    __type(key, u32);
    __type(value, u8);
} processes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 65536);
    __type(key, u16);
    __type(value, u8);
} ports SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4096);
    __type(key, struct in6_addr);
    __type(value, u8);
} hosts SEC(".maps");

// Set before the programs are loaded.
const volatile struct {
    u32 self; // the analyser itself, which nobody wants
    u8 processes;
    u8 ports;
    u8 hosts;
    u8 unused;
    u32 sample;       // of how many connections one is wanted
    u32 ports_factor; // which mixes the sum of the ports, to choose among them
} wanted = {};

// A thread must not lose the processor, and with it the piece, to another that is traced.
extern void bpf_preempt_disable(void) __ksym __weak;
extern void bpf_preempt_enable(void) __ksym __weak;

static u32 process(void)
{
    return bpf_get_current_pid_tgid() >> 32;
}

static int process_is_wanted(void)
{
    u32 id = process();
    return id != wanted.self && (!wanted.processes || bpf_map_lookup_elem(&processes, &id));
}

// The same for both directions of a connection.
static int is_in_sample(struct ends *ends)
{
    u32 ports = __builtin_bswap16(ends->local_port) + __builtin_bswap16(ends->remote_port);
    return wanted.sample < 2 || (ports * wanted.ports_factor >> 16) % wanted.sample == 0;
}

static int ends_are_wanted(struct ends *ends)
{
    return is_in_sample(ends) &&
           (!wanted.ports || bpf_map_lookup_elem(&ports, &ends->local_port) ||
            bpf_map_lookup_elem(&ports, &ends->remote_port)) &&
           (!wanted.hosts || bpf_map_lookup_elem(&hosts, ends->local) ||
            bpf_map_lookup_elem(&hosts, ends->remote));
}

// The two ends of a socket; 0 if it is none of IP.
static int ends_of(const struct sock *sk, struct ends *ends)
{
    __builtin_memset(ends, 0, sizeof(*ends));
    ends->family = BPF_CORE_READ(sk, __sk_common.skc_family);
    // This is still known when the socket is closed.
    ends->local_port = BPF_CORE_READ((struct inet_sock *)sk, inet_sport);
    ends->remote_port = BPF_CORE_READ(sk, __sk_common.skc_dport);
    if (ends->family == AF_INET) {
        // Like IPv6 has them: ::ffff:a.b.c.d
        ends->local[10] = ends->local[11] = ends->remote[10] = ends->remote[11] = 0xff;
        u32 local = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
        u32 remote = BPF_CORE_READ(sk, __sk_common.skc_daddr);
        __builtin_memcpy(ends->local + 12, &local, 4);
        __builtin_memcpy(ends->remote + 12, &remote, 4);
    } else if (ends->family == AF_INET6) {
        BPF_CORE_READ_INTO(&ends->local, sk, __sk_common.skc_v6_rcv_saddr);
        BPF_CORE_READ_INTO(&ends->remote, sk, __sk_common.skc_v6_daddr);
    } else {
        return 0;
    }
    return 1;
}

static struct thread *thread(void)
{
    struct task_struct *task = (void *)bpf_get_current_task_btf();
    return bpf_task_storage_get(&threads, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

static struct piece *piece(void)
{
    u32 processor = bpf_get_smp_processor_id();
    return bpf_map_lookup_elem(&pieces, &processor);
}

static void lose(void)
{
    u32 only = 0;
    u64 *count = bpf_map_lookup_elem(&lost, &only);
    if (count)
        __sync_fetch_and_add(count, 1);
}

// Whether the ring has no room for the longest piece.
static int is_full(void)
{
    return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) + sizeof(struct head) + PIECE >
           bpf_ringbuf_query(&events, BPF_RB_RING_SIZE);
}

static void give(struct piece *piece, u64 length)
{
    if (length > 2 * PIECE)
        return;
    piece->head.length = length;
    // The reader looks by itself; waking it for each piece would cost the traced process.
    if (bpf_ringbuf_output(&events, &piece->head, sizeof(struct head) + length, BPF_RB_NO_WAKEUP))
        lose();
}

static void fill_head(struct piece *piece, struct call *call)
{
    piece->head.time = call->time;
    piece->head.process = process();
    piece->head.kind = call->kind;
    piece->head.ends = call->ends;
    struct task_struct *task = (void *)bpf_get_current_task();
    BPF_CORE_READ_STR_INTO(&piece->head.name, task, group_leader, comm);
}

static long copy_step(u32 step, void *unused)
{
    struct piece *to = piece();
    if (!to || !to->copying.left)
        return 1;
    struct copying *c = &to->copying;
    if (!c->in_segment) {
        struct iovec segment = {};
        if (!c->segments ||
            bpf_probe_read_user(&segment, sizeof(segment), (void *)c->segments))
            return 1;
        c->segments += sizeof(segment);
        c->at = segment.base;
        c->in_segment = segment.length;
        return 0;
    }
    u64 fill = c->fill & (PIECE - 1);
    u64 length = c->in_segment < c->left ? c->in_segment : c->left;
    if (length > PIECE - fill)
        length = PIECE - fill;
    if (length > PIECE)
        return 1;
    u32 failed = bpf_probe_read_user(to->bytes + fill, length, (void *)c->at) != 0;
    c->at += length;
    c->in_segment -= length;
    c->left -= length;
    if (!failed)
        fill += length;
    if (fill && (failed || fill == PIECE || !c->left)) {
        to->head.position = c->position;
        give(to, fill);
        c->position += fill;
        fill = 0;
    }
    // Bytes that cannot be read are missed by their position.
    if (failed)
        c->position += length;
    c->fill = fill;
    return 0;
}

// Gives the first `length` bytes of a call's buffers.
static void copy(struct call *call, u64 length)
{
    // A reader that is too slow must not cost the traced process the copying of what is lost.
    if (is_full()) {
        lose();
        return;
    }
    if (bpf_preempt_disable && bpf_preempt_enable)
        bpf_preempt_disable();
    struct piece *to = piece();
    if (to) {
        fill_head(to, call);
        to->copying = (struct copying){
            .segments = call->segments,
            .at = call->buffer,
            .in_segment = call->segments ? 0 : length,
            .left = length,
            .position = call->position,
        };
        bpf_loop(MAX_STEPS, copy_step, 0, 0);
    }
    if (bpf_preempt_disable && bpf_preempt_enable)
        bpf_preempt_enable();
}

// The TCP socket that this process has under a number, or 0.
static struct sock *socket_of(u64 number)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct fdtable *table = BPF_CORE_READ(task, files, fdt);
    if (number >= BPF_CORE_READ(table, max_fds))
        return 0;
    struct file **files = BPF_CORE_READ(table, fd);
    struct file *file = 0;
    bpf_probe_read_kernel(&file, sizeof(file), files + number);
    if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
        return 0;
    struct socket *socket = BPF_CORE_READ(file, private_data);
    struct sock *sk = BPF_CORE_READ(socket, sk);
    return BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP ? sk : 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(call_begins, struct pt_regs *registers, long number)
{
    u32 kind;
    switch (number) {
    case __NR_write:
    case __NR_writev:
    case __NR_sendto:
    case __NR_sendmsg:
        kind = SENT;
        break;
    case __NR_read:
    case __NR_readv:
    case __NR_recvfrom:
    case __NR_recvmsg:
        kind = RECEIVED;
        break;
    default:
        return 0;
    }
    if (!process_is_wanted())
        return 0;
    struct sock *sk = socket_of(PT_REGS_PARM1_CORE_SYSCALL(registers));
    struct ends ends;
    if (!sk || !ends_of(sk, &ends) || !ends_are_wanted(&ends))
        return 0;
    struct thread *own = thread();
    if (!own)
        return 0;
    if (own->ssl.active) {
        // What OpenSSL sends and receives is known before it encrypts.
        struct ssl_key key = { own->ssl_object, process() };
        if (!bpf_map_lookup_elem(&ssl_connections, &key)) {
            struct ssl_connection connection = { .ends = ends };
            bpf_map_update_elem(&ssl_connections, &key, &connection, BPF_ANY);
        }
        return 0;
    }
    struct call *call = &own->socket;
    u64 argument = PT_REGS_PARM2_CORE_SYSCALL(registers);
    u64 flags = 0;
    call->segments = 0;
    call->buffer = 0;
    switch (number) {
    case __NR_sendmsg:
    case __NR_recvmsg: {
        struct user_msghdr message;
        if (bpf_probe_read_user(&message, sizeof(message), (void *)argument))
            return 0;
        call->segments = message.segments;
        flags = PT_REGS_PARM3_CORE_SYSCALL(registers);
        break;
    }
    case __NR_writev:
    case __NR_readv:
        call->segments = argument;
        break;
    case __NR_recvfrom:
        flags = PT_REGS_PARM4_CORE_SYSCALL(registers);
        call->buffer = argument;
        break;
    default:
        call->buffer = argument;
    }
    if (kind == RECEIVED && flags & MSG_PEEK)
        return 0;
    struct tcp_sock *tcp = (void *)sk;
    call->position =
        kind == SENT ? BPF_CORE_READ(tcp, write_seq) : BPF_CORE_READ(tcp, copied_seq);
    call->ends = ends;
    call->kind = kind;
    call->time = bpf_ktime_get_ns();
    call->active = 1;
    return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(call_ends, struct pt_regs *registers, long result)
{
    if (!process_is_wanted())
        return 0;
    struct task_struct *task = (void *)bpf_get_current_task_btf();
    struct thread *own = bpf_task_storage_get(&threads, task, 0, 0);
    if (!own || !own->socket.active)
        return 0;
    own->socket.active = 0;
    if (result <= 0)
        return 0;
    // Sent is what was given when the call began; received what is there when it ends.
    if (own->socket.kind == RECEIVED)
        own->socket.time = bpf_ktime_get_ns();
    copy(&own->socket, result);
    return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_changes, struct sock *sk, int before, int after)
{
    struct ends ends;
    if (after != TCP_CLOSE || !ends_of(sk, &ends) || !ends_are_wanted(&ends))
        return 0;
    if (bpf_preempt_disable && bpf_preempt_enable)
        bpf_preempt_disable();
    struct head head = { .time = bpf_ktime_get_ns(), .kind = CLOSED, .ends = ends };
    bpf_ringbuf_output(&events, &head, sizeof(head), BPF_RB_NO_WAKEUP);
    if (bpf_preempt_disable && bpf_preempt_enable)
        bpf_preempt_enable();
    return 0;
}

static int ssl_begins(u64 object, u64 buffer, u64 count)
{
    if (!process_is_wanted())
        return 0;
    struct thread *own = thread();
    if (!own)
        return 0;
    own->ssl_object = object;
    own->ssl_count = count;
    own->ssl.buffer = buffer;
    own->ssl.segments = 0;
    own->ssl.time = bpf_ktime_get_ns();
    own->ssl.active = 1;
    return 0;
}

// `result` bytes went, or, if the function says so elsewhere, that many if `result` is 1.
static int ssl_ends(int result, u32 kind)
{
    if (!process_is_wanted())
        return 0;
    struct thread *own = thread();
    if (!own || !own->ssl.active)
        return 0;
    own->ssl.active = 0;
    u64 length = result > 0 ? result : 0;
    if (own->ssl_count && result == 1 &&
        bpf_probe_read_user(&length, sizeof(length), (void *)own->ssl_count))
        return 0;
    struct ssl_key key = { own->ssl_object, process() };
    struct ssl_connection *connection = bpf_map_lookup_elem(&ssl_connections, &key);
    if (!connection || !length || !ends_are_wanted(&connection->ends))
        return 0;
    struct call *call = &own->ssl;
    if (kind == SENT) {
        call->position = connection->sent;
        connection->sent += length;
    } else {
        call->position = connection->received;
        connection->received += length;
        call->time = bpf_ktime_get_ns();
    }
    call->kind = kind | PLAIN;
    call->ends = connection->ends;
    copy(call, length);
    return 0;
}

SEC("uprobe")
int BPF_UPROBE(ssl_call_begins, void *object, void *buffer, u64 size)
{
    return ssl_begins((u64)object, (u64)buffer, 0);
}

SEC("uprobe")
int BPF_UPROBE(ssl_ex_begins, void *object, void *buffer, u64 size, void *count)
{
    return ssl_begins((u64)object, (u64)buffer, (u64)count);
}

SEC("uretprobe")
int BPF_URETPROBE(ssl_write_ends, int result)
{
    return ssl_ends(result, SENT);
}

SEC("uretprobe")
int BPF_URETPROBE(ssl_read_ends, int result)
{
    return ssl_ends(result, RECEIVED);
}

// A handshake has no plain bytes, but tells the connection.
SEC("uprobe")
int BPF_UPROBE(ssl_handshake_begins, void *object)
{
    return ssl_begins((u64)object, 0, 0);
}

SEC("uretprobe")
int BPF_URETPROBE(ssl_handshake_ends, int result)
{
    struct thread *own = thread();
    if (own)
        own->ssl.active = 0;
    return 0;
}

// An object that is freed may have its address used for another connection.
SEC("uprobe")
int BPF_UPROBE(ssl_freed, void *object)
{
    struct ssl_key key = { (u64)object, process() };
    bpf_map_delete_elem(&ssl_connections, &key);
    return 0;
}
