/* SPDX-License-Identifier: Apache-2.0 */
/* Rates and ratios: the only place where they are made. */
#ifndef DENET_DERIVE_H
#define DENET_DERIVE_H

#include <denet/frame.h>

/*
 * Fills the derived metrics of frame from what changed since before; before NULL: since measuring
 * began. A metric whose inputs have no value, or whose divisor did not move, gets none.
 */
void dn_derive(struct dn_frame *frame, const struct dn_frame *before, uint64_t interval_ns);

/* 100 = one busy core. */
double dn_derive_percent(uint64_t cpu_ns, uint64_t interval_ns);

#endif
