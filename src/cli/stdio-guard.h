/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors 0 to 2 that were closed when denet was started: filled, so that no file of denet gets
 * such a number, and remembered, because the measured command must find them closed.
 */
#ifndef DENET_STDIO_GUARD_H
#define DENET_STDIO_GUARD_H

/* First thing in main(). What it opens is O_CLOEXEC, and fails reads and writes with EBADF, as
 * closed ones do. */
void dn_stdio_guard(void);
/* Bit n: descriptor n was closed. */
unsigned dn_stdio_was_closed(void);

#endif
