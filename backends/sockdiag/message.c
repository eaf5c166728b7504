/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds-checked reading of sock_diag messages, of /proc/net/snmp and of socket links. */
#include <errno.h>
#include <string.h>

#include <netinet/in.h>

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>

#include <denet/fs.h>

#include "message.h"

/* Attributes in one message; the kernel sends about ten. */
#define ATTRIBUTE_MAX 64

static void read_info(const uint8_t *data, size_t len, struct dn_tcp *tcp)
{
	struct tcp_info info = {0};

	/* Older kernels say less, newer ones more. Without these two, resent bytes can't be told
	 * from new ones. */
	if (len < offsetof(struct tcp_info, tcpi_bytes_retrans) + sizeof(info.tcpi_bytes_retrans))
		return;
	memcpy(&info, data, len < sizeof(info) ? len : sizeof(info));
	tcp->has_info = true;
	tcp->sent = info.tcpi_bytes_sent;
	tcp->resent = info.tcpi_bytes_retrans;
	tcp->acked = info.tcpi_bytes_acked;
	tcp->received = info.tcpi_bytes_received;
	tcp->data_segments_in = info.tcpi_data_segs_in;
	tcp->retransmits = info.tcpi_total_retrans;
	tcp->last_sent_ms = info.tcpi_last_data_sent;
	tcp->last_received_ms = info.tcpi_last_data_recv;
}

static enum dn_message_kind read_socket(const uint8_t *data, size_t len, struct dn_tcp *ret)
{
	struct inet_diag_msg msg;
	struct dn_tcp tcp = {0};
	size_t at = NLMSG_ALIGN(sizeof(msg));

	if (len < sizeof(msg))
		return DN_MESSAGE_OTHER;
	memcpy(&msg, data, sizeof(msg));
	if (msg.idiag_family != AF_INET && msg.idiag_family != AF_INET6)
		return DN_MESSAGE_OTHER;
	tcp.id = msg.id;
	tcp.family = msg.idiag_family;
	tcp.state = msg.idiag_state;
	tcp.inode = msg.idiag_inode;
	tcp.uid = msg.idiag_uid;
	tcp.rqueue = msg.idiag_rqueue;
	tcp.wqueue = msg.idiag_wqueue;
	for (unsigned n = 0; n < ATTRIBUTE_MAX && at < len && len - at >= NLA_HDRLEN; n++) {
		struct nlattr attribute;
		size_t size;

		memcpy(&attribute, data + at, sizeof(attribute));
		if (attribute.nla_len < NLA_HDRLEN || attribute.nla_len > len - at)
			break;
		size = attribute.nla_len - (size_t)NLA_HDRLEN;
		switch (attribute.nla_type & NLA_TYPE_MASK) {
		case INET_DIAG_INFO:
			read_info(data + at + NLA_HDRLEN, size, &tcp);
			break;
		case INET_DIAG_PROTOCOL:
			if (size >= 1 && data[at + NLA_HDRLEN] != IPPROTO_TCP)
				return DN_MESSAGE_OTHER;
			break;
		default:
			break;
		}
		at += NLA_ALIGN(attribute.nla_len);
	}
	*ret = tcp;
	return DN_MESSAGE_TCP;
}

enum dn_message_kind dn_message_next(
	const uint8_t **data, size_t *len, uint32_t *ret_seq, struct dn_tcp *ret, int *ret_error)
{
	const uint8_t *body = *data + NLMSG_HDRLEN;
	struct nlmsghdr header;
	size_t step, size;
	int error;

	if (*len < sizeof(header))
		return DN_MESSAGE_END;
	memcpy(&header, *data, sizeof(header));
	if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > *len)
		return DN_MESSAGE_END;
	step = NLMSG_ALIGN((size_t)header.nlmsg_len);
	if (step > *len)
		step = *len;
	*data += step;
	*len -= step;
	*ret_seq = header.nlmsg_seq;
	size = header.nlmsg_len - (size_t)NLMSG_HDRLEN;
	switch (header.nlmsg_type) {
	case NLMSG_DONE:
		return DN_MESSAGE_DONE;
	case NLMSG_ERROR:
		if (size < sizeof(error))
			return DN_MESSAGE_OTHER;
		memcpy(&error, body, sizeof(error));
		/* 0 would be an acknowledgement, a positive one nonsense. */
		*ret_error = error < 0 && error >= -4095 ? error : -EPROTO;
		return DN_MESSAGE_ERROR;
	case SOCK_DIAG_BY_FAMILY:
	case TCPDIAG_GETSOCK:
		return read_socket(body, size, ret);
	default:
		return DN_MESSAGE_OTHER;
	}
}

/*
 * Two lines of one name, columns and values: "Tcp: A B" and "Tcp: 1 2". Adds up the values of two
 * columns; false when one of them is not there.
 */
static bool sum_columns(
	const char *text, const char *name, const char *first, const char *second, uint64_t *ret)
{
	size_t name_len = strlen(name);
	const char *line = text, *columns = NULL, *values = NULL;
	unsigned found = 0;
	uint64_t sum = 0;

	while (line && *line && !values) {
		if (strncmp(line, name, name_len) == 0) {
			if (columns)
				values = line + name_len;
			else
				columns = line + name_len;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (!values)
		return false;
	for (;;) {
		size_t column_len;
		int64_t value;

		columns += strspn(columns, " ");
		values += strspn(values, " ");
		column_len = strcspn(columns, " \n");
		if (column_len == 0 || dn_parse_i64(&values, &value) < 0)
			break;
		if ((column_len == strlen(first) && memcmp(columns, first, column_len) == 0) ||
			(column_len == strlen(second) &&
				memcmp(columns, second, column_len) == 0)) {
			sum = dn_add_sat(sum, value > 0 ? (uint64_t)value : 0);
			found++;
		}
		columns += column_len;
	}
	*ret = sum;
	return found == 2;
}

int dn_snmp_parse(const char *text, struct dn_snmp *ret)
{
	struct dn_snmp snmp = {0};

	if (!sum_columns(text, "Tcp:", "ActiveOpens", "PassiveOpens", &snmp.opens))
		return -EINVAL;
	(void)sum_columns(text, "Udp:", "InDatagrams", "OutDatagrams", &snmp.datagrams);
	*ret = snmp;
	return 0;
}

int dn_sockstat_parse(const char *text, uint64_t *ret)
{
	static const char line[] = "\nTCP: ", column[] = " alloc ";
	const char *at = strstr(text, line), *end;

	if (!at)
		return -EINVAL;
	end = at + 1 + strcspn(at + 1, "\n");
	at = strstr(at, column);
	if (!at || at >= end)
		return -EINVAL;
	at += sizeof(column) - 1;
	return dn_parse_u64(&at, ret);
}

bool dn_socket_inode(const char *link, size_t len, uint32_t *ret)
{
	static const char prefix[] = "socket:[";
	char text[32];
	const char *at = text + sizeof(prefix) - 1;
	uint64_t inode;

	if (len < sizeof(prefix) || len >= sizeof(text) ||
		memcmp(link, prefix, sizeof(prefix) - 1) != 0)
		return false;
	memcpy(text, link, len);
	text[len] = '\0';
	if (dn_parse_u64(&at, &inode) < 0 || inode > UINT32_MAX || at != text + len - 1 ||
		*at != ']')
		return false;
	*ret = (uint32_t)inode;
	return true;
}
