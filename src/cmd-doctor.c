/* SPDX-License-Identifier: Apache-2.0 */
/* `denet doctor`: per metric what supplies it here, how good that is, and the smallest change that
 * unlocks the rest. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <denet/fs.h>

#include "commands.h"
#include "doctor.h"
#include "terminal.h"

#define COLUMNS_DEFAULT 100

/* The path of this binary as a shell takes it; what to type must not depend on what is in the name.
 */
static void find_self(char *out, size_t size)
{
	char path[1024];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	size_t used = 0;
	bool plain = true;

	if (len <= 0 || (size_t)len == sizeof(path) - 1) {
		snprintf(out, size, "\"$(command -v denet)\"");
		return;
	}
	path[len] = '\0';
	for (const char *p = path; *p; p++)
		plain &= (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			 (*p >= '0' && *p <= '9') || strchr("/._-+@%,:=", *p);
	if (!plain)
		out[used++] = '\'';
	for (const char *p = path; *p && used + 6 < size; p++) {
		if (*p == '\'') {
			memcpy(out + used, "'\\''", 4);
			used += 4;
		} else {
			out[used++] = *p;
		}
	}
	if (!plain)
		out[used++] = '\'';
	out[used] = '\0';
}

static bool is_procfs(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

/* The state of each backend as a run's header would tell it. */
static void fill_run(struct dn_doctor *doctor)
{
	struct dn_run *run = &doctor->run;

	run->tier = doctor->plan.tier;
	run->machine = &doctor->machine;
	run->n_backends = doctor->plan.n_backends;
	for (unsigned i = 0; i < run->n_backends; i++) {
		const struct dn_plan_backend *backend = &doctor->plan.backend[i];

		run->backend[i] = (struct dn_backend_state){.name = backend->ops->name,
			.fact = backend->dead ? DN_FACT_BROKEN : backend->probe.fact,
			.active = backend->active && !backend->dead,
			.reason = backend->probe.reason,
			.hint = backend->probe.hint};
	}
	memcpy(run->metric, doctor->plan.metric, sizeof(run->metric));
}

static int examine(struct dn_doctor *doctor, const struct dn_options *options)
{
	struct dn_why why = {0};
	int r;

	doctor->env.proc_fd = dn_open_at(AT_FDCWD, options->proc_root, O_RDONLY | O_DIRECTORY);
	if (doctor->env.proc_fd < 0) {
		dn_error("cannot open %s: %s", options->proc_root, strerror(-doctor->env.proc_fd));
		return doctor->env.proc_fd;
	}
	doctor->env.sys_fd = dn_open_at(AT_FDCWD, options->sys_root, O_RDONLY | O_DIRECTORY);
	doctor->env.fixture = strcmp(options->proc_root, "/proc") != 0;
	doctor->env.subreaper = true;
	doctor->env.interval_ns = options->interval_ns;
	doctor->env.groups = ((UINT32_C(1) << DN_PROBES_N) - 1) & ~(UINT32_C(1) << DN_PROBES_NONE);
	doctor->procfs = is_procfs(doctor->env.proc_fd);
	doctor->live = doctor->procfs || !doctor->env.fixture;
	for (unsigned m = 0; m < DN_METRIC_MAX; m++)
		dn_metric_set_add(&doctor->env.wanted, m);
	find_self(doctor->self, sizeof(doctor->self));
	dn_machine_read(doctor->env.proc_fd, doctor->env.sys_fd, &doctor->machine);
	r = dn_plan_probe("auto", &doctor->env, &doctor->plan, &why);
	if (r < 0) {
		dn_error("%s", why.text[0] ? why.text : strerror(-r));
		return r;
	}
	dn_plan_make(&doctor->plan, &doctor->env.wanted);
	fill_run(doctor);
	dn_doctor_check_system(doctor);
	dn_doctor_check_perf(doctor);
	return 0;
}

static bool base_is_broken(const struct dn_doctor *doctor)
{
	for (unsigned i = 0; i < doctor->n_checks; i++) {
		if (doctor->check[i].level == DN_CHECK_ERROR)
			return true;
	}
	return false;
}

int dn_cmd_doctor(const struct dn_options *options)
{
	struct dn_doctor *doctor = calloc(1, sizeof(*doctor));
	int r, status = DN_EXIT_ERROR;

	if (!doctor) {
		dn_error("out of memory");
		return DN_EXIT_ERROR;
	}
	doctor->env.proc_fd = doctor->env.sys_fd = -1;
	r = examine(doctor, options);
	if (r == 0 && options->json) {
		r = dn_doctor_print_json(stdout, doctor);
		if (r < 0)
			dn_error("cannot write JSON: %s", strerror(-r));
	} else if (r == 0) {
		unsigned columns = dn_terminal_columns(STDOUT_FILENO);

		dn_doctor_print(stdout, doctor, dn_terminal_color(STDOUT_FILENO, options->color),
			columns ? columns : COLUMNS_DEFAULT);
	}
	if (r == 0)
		status = base_is_broken(doctor) ? DN_EXIT_ERROR : 0;
	dn_plan_finish(&doctor->plan);
	dn_closep(&doctor->env.proc_fd);
	dn_closep(&doctor->env.sys_fd);
	free(doctor);
	return status;
}
