/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpfobjects [NAME]: holds BPF objects that are known, under the process name NAME, and does what
 * it is told on stdin, answering each line with one. First it says what it holds, as JSON. run N
 * runs the filter N times link        closes the tracing program's descriptor: its link alone holds
 * it pin DIR     pins the filter as DIR/filter drop        closes the filter's and the map's
 * descriptors
 */
#include <linux/bpf.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "workload.h"

#define ENTRIES 101

static int call(int command, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, command, attr, sizeof(*attr));

	if (r < 0)
		die("bpf");
	return (int)r;
}

static int make_map(void)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = 8192,
		.max_entries = ENTRIES,
		.map_name = "dn_known_map"};

	return call(BPF_MAP_CREATE, &attr);
}

/* r1 = map (no use but to hold it); r0 = 0; exit */
static int make_program(uint32_t type, const char *name, int map)
{
	const struct bpf_insn code[] = {
		{.code = BPF_LD | BPF_DW | BPF_IMM,
			.dst_reg = 1,
			.src_reg = BPF_PSEUDO_MAP_FD,
			.imm = map},
		{0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr = {.prog_type = type,
		.insns = (uintptr_t)code,
		.insn_cnt = sizeof(code) / sizeof(code[0]),
		.license = (uintptr_t) "Apache-2.0"};

	memcpy(attr.prog_name, name, strlen(name));
	return call(BPF_PROG_LOAD, &attr);
}

static int attach(int program)
{
	union bpf_attr attr = {.raw_tracepoint = {.name = (uintptr_t) "sched_process_exec",
				       .prog_fd = (uint32_t)program}};

	return call(BPF_RAW_TRACEPOINT_OPEN, &attr);
}

static unsigned id_of(int fd)
{
	struct { /* all kinds begin with type and id */
		uint32_t type, id;
	} info = {0};
	union bpf_attr attr = {.info = {.bpf_fd = (uint32_t)fd,
				       .info_len = sizeof(info),
				       .info = (uintptr_t)&info}};

	call(BPF_OBJ_GET_INFO_BY_FD, &attr);
	return info.id;
}

static void run(int program, uint64_t times)
{
	static const char packet[64];
	union bpf_attr attr = {.test = {.prog_fd = (uint32_t)program,
				       .data_size_in = sizeof(packet),
				       .data_in = (uintptr_t)packet,
				       .repeat = (uint32_t)times}};

	call(BPF_PROG_TEST_RUN, &attr);
}

static void pin(int program, const char *folder)
{
	char path[640];
	union bpf_attr attr = {.pathname = (uintptr_t)path, .bpf_fd = (uint32_t)program};

	snprintf(path, sizeof(path), "%s/filter", folder);
	call(BPF_OBJ_PIN, &attr);
}

int main(int argc, char **argv)
{
	int map = make_map(), filter = make_program(BPF_PROG_TYPE_SOCKET_FILTER, "dn_known", map);
	int tracing = make_program(BPF_PROG_TYPE_RAW_TRACEPOINT, "dn_known_tp", map);
	int link = attach(tracing);
	char line[600];

	if (argc > 1)
		prctl(PR_SET_NAME, argv[1]);
	printf("{\"pid\":%d,\"map\":%u,\"filter\":%u,\"tracing\":%u,\"link\":%u,\"entries\":%d}\n",
		(int)getpid(), id_of(map), id_of(filter), id_of(tracing), id_of(link), ENTRIES);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "run ", 4) == 0)
			run(filter, number(line + 4));
		else if (strcmp(line, "link") == 0)
			close(tracing);
		else if (strncmp(line, "pin ", 4) == 0)
			pin(filter, line + 4);
		else if (strcmp(line, "drop") == 0)
			close(filter), close(map);
		else
			die(line);
		printf("done\n");
		fflush(stdout);
	}
	return 0;
}
