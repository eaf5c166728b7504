/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fullscreen: what an editor does to a terminal: raw mode, the other screen, a line per key
 * pressed, its own handling of window size changes, back on q. Says "KEY xx" per key and "SIZE rows
 * cols" at the start and on SIGWINCH.
 */
#include <sys/ioctl.h>
#include <termios.h>

#include "workload.h"

static volatile sig_atomic_t resized = 1;

static void on_resize(int signo)
{
	resized = 1;
}

int main(void)
{
	struct sigaction action = {.sa_handler = on_resize};
	struct termios before, raw;
	struct winsize size;
	unsigned char key = 0;

	if (tcgetattr(0, &before) < 0)
		die("tcgetattr");
	raw = before;
	cfmakeraw(&raw);
	if (tcsetattr(0, TCSAFLUSH, &raw) < 0)
		die("tcsetattr");
	sigaction(SIGWINCH, &action, NULL);
	dprintf(1, "\033[?1049h\033[2J");
	while (key != 'q') {
		ssize_t n;

		if (resized) {
			resized = 0;
			ioctl(0, TIOCGWINSZ, &size);
			dprintf(1, "SIZE %d %d\r\n", size.ws_row, size.ws_col);
		}
		n = read(0, &key, 1);
		if (n == 0)
			break;
		if (n > 0)
			dprintf(1, "KEY %02x\r\n", key);
	}
	dprintf(1, "\033[?1049l");
	if (tcsetattr(0, TCSAFLUSH, &before) < 0)
		die("tcsetattr");
	return 0;
}
