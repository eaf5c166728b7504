/* SPDX-License-Identifier: Apache-2.0 */
/* The backends that this build has, as data. */
#include "backend-list.inc"
