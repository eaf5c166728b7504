/* SPDX-License-Identifier: Apache-2.0 */
/* Decodes sideband records: bounds first, then the fields. */
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>

#include "record.h"

/* sample_id with PERF_SAMPLE_TID | PERF_SAMPLE_TIME, at the end of every record. */
struct sample_id {
	uint32_t pid, tid;
	uint64_t time;
};

struct task_body {
	uint32_t pid, ppid, tid, ptid;
	uint64_t time;
};

/* Larger than any record that we ask for, a path of 4096 bytes included; what is longer is stepped
 * over. */
#define RECORD_MAX 4352

static int decode_task(
	const uint8_t *body, size_t len, enum dn_perf_record_type type, struct dn_perf_record *ret)
{
	struct task_body task;

	if (len < sizeof(task))
		return -EBADMSG;
	memcpy(&task, body, sizeof(task));
	ret->type = type;
	ret->pid = (pid_t)task.pid;
	ret->tid = (pid_t)task.tid;
	ret->ppid = (pid_t)task.ppid;
	ret->t_ns = task.time;
	return 0;
}

static int decode_comm(const uint8_t *body, size_t len, uint16_t misc, struct dn_perf_record *ret)
{
	uint32_t ids[2];

	if (len < sizeof(ids))
		return -EBADMSG;
	memcpy(ids, body, sizeof(ids));
	len -= sizeof(ids);
	if (len > sizeof(ret->comm) - 1)
		len = sizeof(ret->comm) - 1;
	memcpy(ret->comm, body + sizeof(ids), len);
	ret->comm[len] = '\0';
	ret->comm_len = strnlen(ret->comm, len);
	ret->type = DN_PERF_COMM;
	ret->pid = (pid_t)ids[0];
	ret->tid = (pid_t)ids[1];
	ret->exec = misc & PERF_RECORD_MISC_COMM_EXEC;
	return 0;
}

static int decode_body(const struct perf_event_header *header, const uint8_t *body, size_t len,
	struct dn_perf_record *ret)
{
	uint64_t lost[2];

	switch (header->type) {
	case PERF_RECORD_FORK:
		return decode_task(body, len, DN_PERF_FORK, ret);
	case PERF_RECORD_EXIT:
		return decode_task(body, len, DN_PERF_EXIT, ret);
	case PERF_RECORD_COMM:
		return decode_comm(body, len, header->misc, ret);
	case PERF_RECORD_SWITCH:
	case PERF_RECORD_SWITCH_CPU_WIDE:
		/* The thread that goes or comes is the one in sample_id; CPU-wide adds its
		 * neighbour. */
		ret->type = DN_PERF_SWITCH;
		ret->out = header->misc & PERF_RECORD_MISC_SWITCH_OUT;
		ret->preempt = header->misc & PERF_RECORD_MISC_SWITCH_OUT_PREEMPT;
		return 0;
	case PERF_RECORD_MMAP:
		ret->type = DN_PERF_MMAP;
		return 0;
	case PERF_RECORD_LOST:
		if (len < sizeof(lost))
			return -EBADMSG;
		memcpy(lost, body, sizeof(lost));
		ret->type = DN_PERF_LOST;
		ret->lost = lost[1];
		return 0;
	default:
		return 0;
	}
}

int dn_perf_record_decode(const void *data, size_t available, struct dn_perf_record *ret)
{
	const uint8_t *bytes = data;
	struct perf_event_header header;
	struct dn_perf_record record = {.type = DN_PERF_OTHER};
	struct sample_id id;
	int r;

	if (available < sizeof(header))
		return 0;
	memcpy(&header, bytes, sizeof(header));
	if (header.size < sizeof(header) || header.size % 8 != 0)
		return -EBADMSG;
	if (header.size > available)
		return 0;
	if (header.size >= sizeof(header) + sizeof(id)) {
		memcpy(&id, bytes + header.size - sizeof(id), sizeof(id));
		record.pid = (pid_t)id.pid;
		record.tid = (pid_t)id.tid;
		record.t_ns = id.time;
		r = decode_body(&header, bytes + sizeof(header),
			header.size - sizeof(header) - sizeof(id), &record);
		if (r < 0)
			return r;
	}
	*ret = record;
	return header.size;
}

int dn_perf_record_at(
	const uint8_t *ring, size_t mask, uint64_t tail, uint64_t head, struct dn_perf_record *ret)
{
	uint8_t copy[RECORD_MAX];
	struct perf_event_header header;
	size_t at = tail & mask;
	size_t available, whole;

	if (head - tail < sizeof(header))
		return 0;
	if (head - tail > mask + 1 || mask + 1 - at < sizeof(header))
		return -EBADMSG;
	memcpy(&header, ring + at, sizeof(header));
	available = head - tail;
	whole = mask + 1 - at;
	if (header.size <= whole)
		return dn_perf_record_decode(ring + at, available < whole ? available : whole, ret);
	if (header.size > available)
		return -EBADMSG;
	if (header.size > sizeof(copy)) {
		*ret = (struct dn_perf_record){.type = DN_PERF_OTHER};
		return header.size % 8 == 0 ? header.size : -EBADMSG;
	}
	/* It goes over the end of the ring. */
	memcpy(copy, ring + at, whole);
	memcpy(copy + whole, ring, header.size - whole);
	return dn_perf_record_decode(copy, header.size, ret);
}
