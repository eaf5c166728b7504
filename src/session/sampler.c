/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <denet/fs.h>

#include "sampler.h"

#define RAMP_FROM_NS UINT64_C(1000000000)
#define RAMP_TO_NS UINT64_C(10000000000)
/* A tick that is later than this was not merely delayed by a busy machine. */
#define GAP_SLACK_NS UINT64_C(500000000)

uint64_t dn_sampler_interval(uint64_t base_ns, uint64_t max_ns, uint64_t elapsed_ns)
{
	double share;

	if (max_ns <= base_ns || elapsed_ns <= RAMP_FROM_NS)
		return base_ns;
	if (elapsed_ns >= RAMP_TO_NS)
		return max_ns;
	share = (double)(elapsed_ns - RAMP_FROM_NS) / (double)(RAMP_TO_NS - RAMP_FROM_NS);
	return base_ns + (uint64_t)(share * (double)(max_ns - base_ns));
}

static uint64_t slept_ns(void)
{
	struct timespec boot, mono;

	if (clock_gettime(CLOCK_BOOTTIME, &boot) < 0)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &mono);
	return dn_sub_sat(dn_timespec_ns(&boot), dn_timespec_ns(&mono));
}

static int arm(struct dn_sampler *sampler)
{
	struct itimerspec when = {
		.it_value.tv_sec = (time_t)(sampler->due_ns / 1000000000),
		.it_value.tv_nsec = (long)(sampler->due_ns % 1000000000),
	};

	return timerfd_settime(sampler->source.fd, TFD_TIMER_ABSTIME, &when, NULL) < 0 ? -errno : 0;
}

/* The next tick is on the grid of the interval; those that have passed already are missed, not
 * caught up. */
static void plan_next(struct dn_sampler *sampler, uint64_t now_ns)
{
	sampler->planned_ns = dn_sampler_interval(
		sampler->base_ns, sampler->max_ns, dn_sub_sat(now_ns, sampler->t0_ns));
	sampler->due_ns += sampler->planned_ns;
	if (sampler->due_ns <= now_ns) {
		uint64_t skipped = (now_ns - sampler->due_ns) / sampler->planned_ns + 1;

		sampler->missed += skipped;
		sampler->due_ns += skipped * sampler->planned_ns;
	}
}

static int on_timer(struct dn_source *source, uint32_t events)
{
	struct dn_sampler *sampler = dn_container_of(source, struct dn_sampler, source);
	uint64_t expirations;

	/* Setting the timer anew below also clears what could not be read. */
	if (read(source->fd, &expirations, sizeof(expirations)) < 0 && errno == EAGAIN)
		return 0;
	plan_next(sampler, dn_now_ns());
	sampler->on_tick(sampler);
	/* The tick may have found that all has ended. */
	return source->fd < 0 ? 0 : arm(sampler);
}

int dn_sampler_start(struct dn_sampler *sampler, struct dn_loop *loop, uint64_t t0_ns)
{
	int r;

	sampler->t0_ns = sampler->last_ns = sampler->due_ns = t0_ns;
	sampler->sleep_ns = slept_ns();
	sampler->planned_ns = sampler->base_ns;
	sampler->due_ns += sampler->base_ns;
	sampler->source.dispatch = on_timer;
	r = dn_loop_add(loop, &sampler->source, EPOLLIN);
	return r < 0 ? r : arm(sampler);
}

uint64_t dn_sampler_mark(struct dn_sampler *sampler, uint64_t now_ns, bool *ret_gap)
{
	uint64_t interval = dn_sub_sat(now_ns, sampler->last_ns), slept = slept_ns();

	*ret_gap = interval > 2 * sampler->planned_ns + GAP_SLACK_NS ||
		   slept > sampler->sleep_ns + GAP_SLACK_NS;
	sampler->last_ns = now_ns;
	sampler->sleep_ns = slept;
	return interval ? interval : 1;
}

void dn_sampler_stop(struct dn_sampler *sampler, struct dn_loop *loop)
{
	if (sampler->source.fd < 0)
		return;
	dn_loop_remove(loop, &sampler->source);
	close(sampler->source.fd);
	sampler->source.fd = -1;
}
