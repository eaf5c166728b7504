/* SPDX-License-Identifier: Apache-2.0 */
/* When to sample: one absolute timer whose interval ramps from the first to the largest between 1 s
 * and 10 s of run. */
#ifndef DENET_SAMPLER_H
#define DENET_SAMPLER_H

#include <denet/loop.h>

struct dn_sampler {
	struct dn_source source;
	uint64_t base_ns, max_ns;
	uint64_t t0_ns, last_ns, due_ns;
	uint64_t planned_ns; /* of the interval in progress */
	uint64_t missed; /* ticks that were due while denet did not run */
	uint64_t sleep_ns; /* BOOTTIME less MONOTONIC at the last tick: grows when the machine slept
			    */
	void (*on_tick)(struct dn_sampler *sampler);
};

/* Interval in force after elapsed_ns of run. */
uint64_t dn_sampler_interval(uint64_t base_ns, uint64_t max_ns, uint64_t elapsed_ns);
/* source.fd is a timerfd of CLOCK_MONOTONIC, owned by the sampler from here on. */
int dn_sampler_start(struct dn_sampler *sampler, struct dn_loop *loop, uint64_t t0_ns);
/*
 * The time since the last sample, which ends now; gap tells that the machine slept or denet was
 * stopped in it.
 */
uint64_t dn_sampler_mark(struct dn_sampler *sampler, uint64_t now_ns, bool *ret_gap);
void dn_sampler_stop(struct dn_sampler *sampler, struct dn_loop *loop);

#endif
