/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: level-triggered epoll, sources embedded in their owners. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <denet/loop.h>

#define BATCH 32

struct dn_loop {
	int epoll_fd;
	bool quit;
	/* The batch in progress: a source that is removed by a callback is cleared from it. */
	struct epoll_event batch[BATCH];
	int n_batch;
};

int dn_loop_new(struct dn_loop **ret_loop)
{
	struct dn_loop *loop = calloc(1, sizeof(*loop));
	int r;

	if (!loop)
		return -ENOMEM;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		r = -errno;
		free(loop);
		return r;
	}
	*ret_loop = loop;
	return 0;
}

void dn_loop_free(struct dn_loop *loop)
{
	if (!loop)
		return;
	close(loop->epoll_fd);
	free(loop);
}

int dn_loop_add(struct dn_loop *loop, struct dn_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0)
		return -errno;
	source->added = true;
	return 0;
}

void dn_loop_remove(struct dn_loop *loop, struct dn_source *source)
{
	if (!source->added)
		return;
	source->added = false;
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	for (int i = 0; i < loop->n_batch; i++) {
		if (loop->batch[i].data.ptr == source)
			loop->batch[i].data.ptr = NULL;
	}
}

int dn_loop_run(struct dn_loop *loop)
{
	loop->quit = false;
	while (!loop->quit) {
		int n = epoll_wait(loop->epoll_fd, loop->batch, BATCH, -1);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		loop->n_batch = n;
		for (int i = 0; i < loop->n_batch && !loop->quit; i++) {
			struct dn_source *source = loop->batch[i].data.ptr;
			int r;

			if (!source)
				continue;
			r = source->dispatch(source, loop->batch[i].events);
			if (r < 0) {
				loop->n_batch = 0;
				return r;
			}
		}
		loop->n_batch = 0;
	}
	return 0;
}

void dn_loop_quit(struct dn_loop *loop)
{
	loop->quit = true;
}
