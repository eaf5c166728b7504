/* SPDX-License-Identifier: Apache-2.0 */
/* `denet bpf`: every BPF program, map and link of the machine, what they cost and whose they are.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <denet/fs.h>

#include "bpf-list.h"
#include "commands.h"
#include "json-writer.h"
#include "terminal.h"

#define NS_PER_S UINT64_C(1000000000)
#define ENDED 1 /* nobody wants more */

struct command {
	const struct dn_options *options;
	int proc_fd;
	struct dn_bpf_btf *btf;
	struct dn_bpf_list list;
	struct dn_bpf_owners owners;
	bool terminal;
	sigset_t waiting; /* signal mask while nothing else is done */
};

static volatile sig_atomic_t stopped;

static void on_signal(int signal_number)
{
	stopped = 1;
}

static void explain(int r)
{
	if (r == -EPERM || r == -EACCES)
		dn_error("cannot list BPF objects: BPF_PROG_GET_NEXT_ID: %s; the kernel asks for "
			 "CAP_SYS_ADMIN%s",
			strerror(-r),
			geteuid() == 0 ? " outside of containers, which this root does not have"
				       : ", CAP_BPF is not enough: try sudo denet bpf");
	else if (r == -ENOSYS)
		dn_error("cannot list BPF objects: this kernel is built without bpf(2)");
	else if (r == -EINVAL)
		dn_error("cannot list BPF objects: this kernel can't, which Linux 4.13 and later "
			 "can");
	else
		dn_error("cannot list BPF objects: %s", strerror(-r));
}

/* What is there now, and its owners when what is there changed. */
static int refresh(struct command *command)
{
	struct dn_bpf_owners owners;
	struct dn_bpf_list list;
	int r = dn_bpf_list_read(&list, command->btf);

	if (r < 0)
		return r;
	/* Objects live on while their owners change, but what is new has a new owner. */
	if (!command->owners.processes || !dn_bpf_list_same(&list, &command->list)) {
		r = dn_bpf_owners_read(&owners, &list, command->proc_fd, true);
		if (r < 0) {
			dn_bpf_list_finish(&list);
			return r;
		}
		dn_bpf_owners_finish(&command->owners);
		command->owners = owners;
	}
	if (command->list.t_ns)
		dn_bpf_list_since(&list, &command->list);
	dn_bpf_list_finish(&command->list);
	command->list = list;
	return 0;
}

static int render_json(const struct command *command, char **ret, size_t *ret_len)
{
	struct dn_json json;
	int r;

	dn_json_init(&json);
	dn_bpf_write_json(&json, &command->list, &command->owners);
	dn_json_newline(&json);
	r = dn_json_error(&json);
	if (r < 0) {
		dn_json_finish(&json);
		return r;
	}
	*ret = json.data;
	*ret_len = json.len;
	return 0;
}

static int render_text(const struct command *command, char **ret, size_t *ret_len)
{
	struct dn_bpf_style style = {
		.color = dn_terminal_color(STDOUT_FILENO, command->options->color),
		.columns = dn_terminal_columns(STDOUT_FILENO),
	};
	bool watch = command->options->watch_ns != 0;
	struct winsize size;
	FILE *out = open_memstream(ret, ret_len);
	int r;

	if (!out)
		return -ENOMEM;
	if (watch && command->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		style.lines = size.ws_row;
	if (watch && command->terminal)
		fputs("\033[H\033[J", out);
	r = dn_bpf_print(out, &command->list, &command->owners, &style);
	if (watch && !command->terminal)
		fputc('\n', out);
	if (fclose(out) != 0)
		r = -ENOMEM;
	if (r < 0)
		free(*ret);
	return r;
}

static int render(const struct command *command, char **ret, size_t *ret_len)
{
	*ret = NULL;
	*ret_len = 0;
	return command->options->json ? render_json(command, ret, ret_len)
				      : render_text(command, ret, ret_len);
}

/*
 * Waits until stdout takes something, or so long. 0; ENDED when a signal came or the reader left.
 * A signal can only come in here, so that none is overlooked.
 */
static int wait_for(const struct command *command, bool writable, uint64_t ns)
{
	struct pollfd fd = {.fd = STDOUT_FILENO, .events = writable ? POLLOUT : 0};
	struct timespec ts = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
	int n = ppoll(&fd, 1, writable ? NULL : &ts, &command->waiting);

	if (n < 0 && errno != EINTR)
		return -errno;
	if (stopped || (n > 0 && fd.revents & (POLLERR | POLLNVAL)))
		return ENDED;
	return 0;
}

static int wait_until(const struct command *command, uint64_t deadline_ns)
{
	for (uint64_t now = dn_now_ns(); now < deadline_ns; now = dn_now_ns()) {
		int r = wait_for(command, false, deadline_ns - now);

		if (r != 0)
			return r;
	}
	return stopped ? ENDED : 0;
}

/* In pieces that a pipe which is ready takes without waiting. */
static int write_all(const struct command *command, const char *data, size_t len)
{
	while (len > 0) {
		int r = wait_for(command, true, 0);
		ssize_t n;

		if (r != 0)
			return r;
		n = write(STDOUT_FILENO, data, len < PIPE_BUF ? len : PIPE_BUF);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return errno == EPIPE ? ENDED : -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int watch(struct command *command)
{
	uint64_t deadline_ns = command->list.t_ns;

	for (;;) {
		uint64_t now = dn_now_ns(), interval_ns = command->options->watch_ns;
		char *data;
		size_t len;
		int r;

		/* What could not be done in time is left out, not made up for. */
		deadline_ns = deadline_ns + interval_ns > now ? deadline_ns + interval_ns
							      : now + interval_ns;
		r = wait_until(command, deadline_ns);
		if (r == 0)
			r = refresh(command);
		if (r < 0)
			explain(r);
		if (r != 0)
			return r;
		r = render(command, &data, &len);
		if (r < 0) {
			dn_error("%s", strerror(-r));
			return r;
		}
		r = write_all(command, data, len);
		free(data);
		if (r < 0)
			dn_error("writing to stdout: %s", strerror(-r));
		if (r != 0)
			return r;
	}
}

/* Statistics are on as long as the descriptor is open: whatever ends denet turns them off. */
static int start_watch(struct command *command)
{
	struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
	dn_cleanup(dn_closep) int stats_fd = dn_bpf_stats_enable();
	sigset_t set;
	int r;

	if (stats_fd < 0) {
		dn_error("cannot turn on BPF statistics: %s%s", strerror(-stats_fd),
			stats_fd == -EINVAL ? "; Linux 5.8 and later can" : "");
		return stats_fd;
	}
	sigemptyset(&set);
	for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct sigaction old;

		/* nohup stays nohup. */
		sigaction(ends[i], NULL, &old);
		if (old.sa_handler == SIG_IGN && ends[i] == SIGHUP)
			continue;
		sigaction(ends[i], &stop, NULL);
		sigaddset(&set, ends[i]);
	}
	sigaction(SIGPIPE, &ignore, NULL);
	sigprocmask(SIG_BLOCK, &set, &command->waiting);
	for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		if (sigismember(&set, ends[i]))
			sigdelset(&command->waiting, ends[i]);
	}
	/* The baseline: read once the statistics are on. */
	r = refresh(command);
	if (r < 0) {
		explain(r);
		return r;
	}
	return watch(command);
}

static int list_once(struct command *command)
{
	char *data;
	size_t len;
	int r = refresh(command);

	if (r < 0) {
		explain(r);
		return r;
	}
	r = render(command, &data, &len);
	if (r < 0) {
		dn_error("%s", strerror(-r));
		return r;
	}
	fwrite(data, 1, len, stdout); /* main() tells what it finds wrong with stdout */
	free(data);
	return 0;
}

int dn_cmd_bpf(const struct dn_options *options)
{
	struct command command = {
		.options = options,
		.proc_fd = dn_open_at(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY),
		.btf = dn_bpf_btf_new(),
		.terminal = isatty(STDOUT_FILENO),
	};
	uint32_t id;
	int r;

	if (command.proc_fd < 0 || !command.btf) {
		dn_error("cannot open /proc: %s",
			strerror(command.proc_fd < 0 ? -command.proc_fd : ENOMEM));
		r = -ENOENT;
	} else {
		/* Whether it may is known before anything is turned on. */
		r = dn_bpf_next_id(DN_BPF_PROG, 0, &id);
		if (r < 0 && r != -ENOENT)
			explain(r);
		else
			r = options->watch_ns ? start_watch(&command) : list_once(&command);
	}
	dn_bpf_owners_finish(&command.owners);
	dn_bpf_list_finish(&command.list);
	dn_bpf_btf_free(command.btf);
	dn_closep(&command.proc_fd);
	return r < 0 ? DN_EXIT_ERROR : 0;
}
