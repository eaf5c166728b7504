/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DENET_SUMMARY_MISSING_H
#define DENET_SUMMARY_MISSING_H

#include <denet/sink.h>

#include "grid.h"

/* One row of what is missing, by category, and the hint that unlocks most; nothing when nothing is.
 */
void dn_summary_missing(const struct dn_run *run, struct dn_grid *grid);

#endif
