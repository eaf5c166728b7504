/* SPDX-License-Identifier: Apache-2.0 */
/* Signals to the tree: where they are sent, and where threads of the tree take them. */
#include "common.bpf.h"
#include "wire-signals.h"

/* Results of signal_generate, as the kernel's trace events have them. */
#define TRACE_SIGNAL_IGNORED 1
#define TRACE_SIGNAL_ALREADY_PENDING 2
#define TRACE_SIGNAL_OVERFLOW_FAIL 3

/* Signal numbers and codes are ABI. */
#define DN_SIGKILL 9
#define DN_SIGCHLD 17
#define DN_SIGCONT 18
#define DN_SIGSTOP 19
#define DN_SIGTSTP 20
#define DN_SIGTTIN 21
#define DN_SIGTTOU 22
#define DN_SIGURG 23
#define DN_SIGWINCH 28
#define DN_SI_USER 0
#define DN_SI_QUEUE (-1)
#define DN_SI_TKILL (-6)
#define SIGNAL_GROUP_EXIT 0x4

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DN_SIGNALS_N);
	__type(key, u32);
	__type(value, struct dn_wire_signal);
} dn_signals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, struct dn_wire_sender);
	__type(value, u64);
} dn_senders SEC(".maps");

struct victim {
	u64 start_ns;
	u64 tgid;
};

/* Processes whose deadly signal was counted: all their threads are told of it. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct victim);
	__type(value, u32);
} dn_victims SEC(".maps");

static __always_inline struct dn_wire_signal *signal_sums(u32 number)
{
	return number < DN_SIGNALS_N ? bpf_map_lookup_elem(&dn_signals, &number) : 0;
}

/* The special values of the kernel: 0 is from the current process, 1 from the kernel. */
static __always_inline bool is_from_kernel(u64 info)
{
	s32 code;

	if (info <= 1)
		return info == 1;
	code = BPF_CORE_READ((struct kernel_siginfo *)info, si_code);
	return code != DN_SI_USER && code != DN_SI_QUEUE && code != DN_SI_TKILL;
}

static __noinline void count_sender(u32 number, u64 info, u64 weight)
{
	struct dn_wire_sender key = {};
	u64 *known;

	key.signal = number;
	if (is_from_kernel(info)) {
		key.kernel = 1;
	} else {
		struct task_struct *sender = task_now();

		key.pid = tgid_here(sender);
		bpf_probe_read_kernel(
			key.comm, sizeof(key.comm), &BPF_CORE_READ(sender, group_leader)->comm);
	}
	known = bpf_map_lookup_elem(&dn_senders, &key);
	if (!known) {
		u64 none = 0;

		bpf_map_update_elem(&dn_senders, &key, &none, BPF_NOEXIST);
		known = bpf_map_lookup_elem(&dn_senders, &key);
	}
	if (known)
		__sync_fetch_and_add(known, weight);
	else
		lose(DN_LOSS_MAP);
}

DN_TRACEPOINT(signal_generate)
int BPF_PROG(
	dn_signal_sent, int number, u64 info, struct task_struct *target, int group, int result)
{
	struct dn_task *state = task_find(target);
	struct dn_wire_signal *sums;
	u32 weight;

	if (!state || !(state->flags & DN_TASK_ACTIVE)) {
		note_outside();
		return 0;
	}
	sums = signal_sums((u32)number);
	weight = sample_weight(DN_GROUP_SIGNALS);
	if (!sums || !weight)
		return 0;
	/* Timers send from interrupts. */
	__sync_fetch_and_add(&sums->generated, weight);
	if (result == TRACE_SIGNAL_IGNORED)
		__sync_fetch_and_add(&sums->ignored, weight);
	else if (result == TRACE_SIGNAL_ALREADY_PENDING)
		__sync_fetch_and_add(&sums->merged, weight);
	else if (result == TRACE_SIGNAL_OVERFLOW_FAIL)
		__sync_fetch_and_add(&sums->lost, weight);
	count_sender((u32)number, info, weight);
	return 0;
}

/* False when the end of this process was counted before. */
static __always_inline bool is_first_of_process(struct task_struct *task)
{
	struct victim victim = {};
	u32 one = 1;

	victim.start_ns = BPF_CORE_READ(task, group_leader, start_time);
	victim.tgid = (u32)BPF_CORE_READ(task, tgid);
	return map_update(&dn_victims, &victim, &one, BPF_NOEXIST) == 0;
}

static __always_inline bool is_deadly(u32 number)
{
	const u64 harmless = 1ULL << DN_SIGCHLD | 1ULL << DN_SIGCONT | 1ULL << DN_SIGSTOP |
			     1ULL << DN_SIGTSTP | 1ULL << DN_SIGTTIN | 1ULL << DN_SIGTTOU |
			     1ULL << DN_SIGURG | 1ULL << DN_SIGWINCH;

	return number >= 64 || !(harmless >> number & 1);
}

/*
 * Of a deadly signal the kernel makes a SIGKILL for each thread of the process, without a sender;
 * so it does when one thread ends all or starts another program. The process knows what it was.
 */
DN_RAW_TRACEPOINT(signal_deliver)
int BPF_PROG(dn_signal_taken, int raw_number, u64 info, struct k_sigaction *action)
{
	struct dn_task *state = task_counting();
	struct task_struct *task = task_now();
	struct dn_wire_signal *sums;
	u32 number = (u32)raw_number, weight;

	if (!state)
		return 0;
	if (number == DN_SIGKILL && info == 0) {
		if (!(BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT))
			return 0;
		number = BPF_CORE_READ(task, signal, group_exit_code) & 0x7f;
		if (!number || !is_first_of_process(task))
			return 0;
	} else if (is_deadly(number) && !BPF_CORE_READ(action, sa.sa_handler)) {
		is_first_of_process(task);
	}
	sums = signal_sums(number);
	weight = sample_weight(DN_GROUP_SIGNALS);
	if (sums && weight)
		__sync_fetch_and_add(&sums->delivered, weight);
	return 0;
}
