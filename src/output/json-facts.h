/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a JSON document that say what is known before anything is measured: the header's,
 * and doctor's. */
#ifndef DENET_JSON_FACTS_H
#define DENET_JSON_FACTS_H

#include <denet/sink.h>

#include "json-writer.h"

/* Each writes one member with its key into the object that is open. Unknown is null. */
void dn_json_put_host(struct dn_json *json, const struct dn_machine *machine);
void dn_json_put_privileges(struct dn_json *json, const struct dn_machine *machine);
void dn_json_put_backends(struct dn_json *json, const struct dn_run *run);
/* Wanted metrics; changed_only: those that differ from what the header said. */
void dn_json_put_metric_states(struct dn_json *json, const struct dn_run *run, bool changed_only);
/* RFC 3339, UTC, microseconds. */
void dn_json_put_time(struct dn_json *json, const char *key, const struct timespec *time);
/* Raw bytes as "name"; those that are not UTF-8 as "name_hex" too. */
void dn_json_put_name(struct dn_json *json, const char *name);

#endif
