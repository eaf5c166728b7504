/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON Schema of the stream: the records by hand, the metrics from the registry. One schema for
 * any one line. Within a major version the stream only grows, so unknown members are allowed
 * everywhere.
 */
#include <stdbool.h>
#include <string.h>

#include <denet/metric.h>
#include <denet/sink.h>

#include "option-table.h"

/* In these texts ' stands for ". */
static const char head[] =
	"{\n"
	"  '$schema': 'https://json-schema.org/draft/2020-12/schema',\n"
	"  'title': 'A line of a denet stream',\n"
	"  'description': 'Made by denet metrics --schema. Members that are not listed may appear "
	"within a "
	"major version; none is renamed or removed.',\n"
	"  'type': 'object',\n"
	"  'required': ['kind'],\n"
	"  'properties': {'kind': {'enum': ['header', 'sample', 'event', 'summary']}},\n"
	"  'allOf': [\n"
	"    {'if': {'properties': {'kind': {'const': 'header'}}}, 'then': {'$ref': "
	"'#/$defs/header'}},\n"
	"    {'if': {'properties': {'kind': {'const': 'sample'}}}, 'then': {'$ref': "
	"'#/$defs/sample'}},\n"
	"    {'if': {'properties': {'kind': {'const': 'event'}}}, 'then': {'$ref': "
	"'#/$defs/event'}},\n"
	"    {'if': {'properties': {'kind': {'const': 'summary'}}}, 'then': {'$ref': "
	"'#/$defs/summary'}}\n"
	"  ],\n"
	"  '$defs': {\n"
	"    'u64': {'type': 'integer', 'minimum': 0, 'maximum': 18446744073709551615},\n"
	"    'pid': {'type': 'integer', 'minimum': 0, 'maximum': 4194304},\n"
	"    'text': {'type': ['string', 'null']},\n"
	"    'hex': {'type': 'string', 'pattern': '^([0-9a-f]{2})*$'},\n"
	"    'value_integer': {'type': ['integer', 'null'], 'minimum': 0, 'maximum': "
	"18446744073709551615},\n"
	"    'value_number': {'type': ['number', 'null'], 'minimum': 0},\n"
	"    'value_histogram': {'anyOf': [{'$ref': '#/$defs/histogram'}, {'type': 'null'}]},\n"
	"    'value_table': {'anyOf': [{'$ref': '#/$defs/table'}, {'type': 'null'}]},\n";

static const char tables[] =
	"    'histogram': {\n"
	"      'description': 'A distribution. Buckets are log-linear, eight for each power of "
	"two: "
	"pairs of the largest value that one holds and how many it has, empty ones left out. "
	"Percentiles are such bounds, within min and max.',\n"
	"      'type': 'object',\n"
	"      'required': ['count', 'sum', 'min', 'max', 'p50', 'p95', 'p99', 'buckets'],\n"
	"      'properties': {\n"
	"        'count': {'$ref': '#/$defs/u64'},\n"
	"        'sum': {'$ref': '#/$defs/u64'},\n"
	"        'min': {'$ref': '#/$defs/value_integer'},\n"
	"        'max': {'$ref': '#/$defs/value_integer'},\n"
	"        'p50': {'$ref': '#/$defs/value_integer'},\n"
	"        'p95': {'$ref': '#/$defs/value_integer'},\n"
	"        'p99': {'$ref': '#/$defs/value_integer'},\n"
	"        'buckets': {'type': 'array', 'items': {'type': 'array', 'minItems': 2, "
	"'maxItems': 2, 'items': {'$ref': '#/$defs/u64'}}}\n"
	"      }\n"
	"    },\n"
	"    'table': {\n"
	"      'description': 'Rows by key, each an object of its columns; one without a value is "
	"left out. In a key a backslash is written twice, and a byte that is not UTF-8 as "
	"a backslash, x and two hexadecimal digits.',\n"
	"      'type': 'object',\n"
	"      'additionalProperties': {\n"
	"        'type': 'object',\n"
	"        'additionalProperties': {'anyOf': [{'$ref': '#/$defs/u64'}, {'$ref': "
	"'#/$defs/histogram'}]}\n"
	"      }\n"
	"    },\n";

/* %u: the version of the schema. */
static const char header[] =
	"    'header': {\n"
	"      'required': ['kind', 'schema', 'denet', 'time', 'mode', 'command', 'cwd', 'pid', "
	"'targets', "
	"'tier', 'interval_ns', 'host', 'privileges', 'backends', 'metrics'],\n"
	"      'properties': {\n"
	"        'kind': {'const': 'header'},\n"
	"        'schema': {'const': %u},\n"
	"        'denet': {'type': 'string'},\n"
	"        'time': {'type': 'string', "
	"'pattern': '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]+Z$'},\n"
	"        'mode': {'enum': ['run', 'attach']},\n"
	"        'command': {'type': ['array', 'null'], 'items': {'type': 'string'}},\n"
	"        'cwd': {'$ref': '#/$defs/text'},\n"
	"        'pid': {'anyOf': [{'$ref': '#/$defs/pid'}, {'type': 'null'}]},\n"
	"        'targets': {'type': 'array', 'items': {'$ref': '#/$defs/pid'}},\n"
	"        'tier': {'type': 'string'},\n"
	"        'interval_ns': {'$ref': '#/$defs/u64'},\n"
	"        'host': {'$ref': '#/$defs/host'},\n"
	"        'privileges': {'$ref': '#/$defs/privileges'},\n"
	"        'backends': {'type': 'array', 'items': {'$ref': '#/$defs/backend'}},\n"
	"        'metrics': {'$ref': '#/$defs/metric_states'}\n"
	"      }\n"
	"    },\n";

static const char machine[] =
	"    'host': {\n"
	"      'type': 'object',\n"
	"      'required': ['hostname', 'kernel', 'arch', 'cpu_model', 'cpus_online', 'affinity', "
	"'memory_bytes', 'numa_nodes', 'smt', 'governor', 'thp', 'virtualization', 'container', "
	"'cgroup'],\n"
	"      'properties': {\n"
	"        'hostname': {'$ref': '#/$defs/text'},\n"
	"        'kernel': {'$ref': '#/$defs/text'},\n"
	"        'arch': {'$ref': '#/$defs/text'},\n"
	"        'cpu_model': {'$ref': '#/$defs/text'},\n"
	"        'cpus_online': {'type': ['integer', 'null'], 'minimum': 1},\n"
	"        'affinity': {'$ref': '#/$defs/text'},\n"
	"        'memory_bytes': {'$ref': '#/$defs/value_integer'},\n"
	"        'numa_nodes': {'type': ['integer', 'null'], 'minimum': 1},\n"
	"        'smt': {'type': ['boolean', 'null']},\n"
	"        'governor': {'$ref': '#/$defs/text'},\n"
	"        'thp': {'$ref': '#/$defs/text'},\n"
	"        'virtualization': {'$ref': '#/$defs/text'},\n"
	"        'container': {'$ref': '#/$defs/text'},\n"
	"        'cgroup': {\n"
	"          'type': ['object', 'null'],\n"
	"          'required': ['version', 'path', 'memory_max_bytes', 'cpu_quota_ratio', "
	"'pids_max'],\n"
	"          'properties': {\n"
	"            'version': {'enum': [1, 2, null]},\n"
	"            'path': {'$ref': '#/$defs/text'},\n"
	"            'memory_max_bytes': {'$ref': '#/$defs/value_integer'},\n"
	"            'cpu_quota_ratio': {'$ref': '#/$defs/value_number'},\n"
	"            'pids_max': {'$ref': '#/$defs/value_integer'}\n"
	"          }\n"
	"        }\n"
	"      }\n"
	"    },\n"
	"    'privileges': {\n"
	"      'type': 'object',\n"
	"      'required': ['euid', 'capabilities', 'perf_event_paranoid', "
	"'unprivileged_bpf_disabled', 'btf', "
	"'lockdown', 'no_new_privs', 'seccomp', 'yama_ptrace_scope'],\n"
	"      'properties': {\n"
	"        'euid': {'type': 'integer', 'minimum': 0},\n"
	"        'capabilities': {'type': 'array', 'items': {'type': 'string'}},\n"
	"        'perf_event_paranoid': {'type': ['integer', 'null']},\n"
	"        'unprivileged_bpf_disabled': {'type': ['integer', 'null'], 'minimum': 0},\n"
	"        'btf': {'type': ['boolean', 'null']},\n"
	"        'lockdown': {'$ref': '#/$defs/text'},\n"
	"        'no_new_privs': {'type': ['boolean', 'null']},\n"
	"        'seccomp': {'type': ['integer', 'null'], 'minimum': 0, 'maximum': 2},\n"
	"        'yama_ptrace_scope': {'type': ['integer', 'null'], 'minimum': 0, 'maximum': 3}\n"
	"      }\n"
	"    },\n";

static const char provenance[] =
	"    'backend': {\n"
	"      'type': 'object',\n"
	"      'required': ['name', 'state'],\n"
	"      'properties': {\n"
	"        'name': {'type': 'string'},\n"
	"        'state': {'enum': ['active', 'idle', 'unsupported', 'denied', 'broken', "
	"'untried']},\n"
	"        'reason': {'$ref': '#/$defs/text'},\n"
	"        'hint': {'$ref': '#/$defs/text'}\n"
	"      }\n"
	"    },\n"
	"    'metric_states': {\n"
	"      'type': 'object',\n"
	"      'propertyNames': {'pattern': '^[A-Za-z0-9_:=-]+([.][A-Za-z0-9_:=-]+)*$'},\n"
	"      'additionalProperties': {'$ref': '#/$defs/metric_state'}\n"
	"    },\n"
	"    'metric_state': {\n"
	"      'description': 'Where a metric came from and how good it is; one that is missing "
	"says why.',\n"
	"      'type': 'object',\n"
	"      'required': ['source', 'quality'],\n"
	"      'properties': {\n"
	"        'source': {'$ref': '#/$defs/text'},\n"
	"        'quality': {'enum': [%s]},\n"
	"        'reason': {'$ref': '#/$defs/text'},\n"
	"        'hint': {'$ref': '#/$defs/text'},\n"
	"        'kind': {'enum': ['histogram', 'table']}\n"
	"      },\n"
	"      'if': {'properties': {'quality': {'const': 'missing'}}},\n"
	"      'then': {'required': ['reason'], "
	"'properties': {'source': {'type': 'null'}, 'reason': {'type': 'string'}}},\n"
	"      'else': {'properties': {'source': {'type': 'string'}}}\n"
	"    },\n";

static const char records[] =
	"    'sample': {\n"
	"      'required': ['kind', 'seq', 't_ns', 'interval_ns', 'tree'],\n"
	"      'properties': {\n"
	"        'kind': {'const': 'sample'},\n"
	"        'seq': {'type': 'integer', 'minimum': 1},\n"
	"        't_ns': {'$ref': '#/$defs/u64'},\n"
	"        'interval_ns': {'$ref': '#/$defs/u64'},\n"
	"        'gap': {'type': 'boolean'},\n"
	"        'tree': {'$ref': '#/$defs/tree'},\n"
	"        'system': {'$ref': '#/$defs/system'},\n"
	"        'processes': {'type': 'array', 'items': {'$ref': '#/$defs/process'}}\n"
	"      }\n"
	"    },\n"
	"    'event': {\n"
	"      'required': ['kind', 't_ns', 'event'],\n"
	"      'properties': {\n"
	"        'kind': {'const': 'event'},\n"
	"        't_ns': {'$ref': '#/$defs/u64'},\n"
	"        'event': {'type': 'string', 'pattern': '^[a-z][a-z_]*$'},\n"
	"        'pid': {'$ref': '#/$defs/pid'},\n"
	"        'ppid': {'$ref': '#/$defs/pid'},\n"
	"        'name': {'type': 'string'},\n"
	"        'name_hex': {'$ref': '#/$defs/hex'},\n"
	"        'code': {'type': ['integer', 'null'], 'minimum': 0, 'maximum': 255},\n"
	"        'signal': {'type': ['integer', 'null'], 'minimum': 1, 'maximum': 127},\n"
	"        'text': {'$ref': '#/$defs/text'}\n"
	"      }\n"
	"    },\n";

static const char summary[] =
	"    'summary': {\n"
	"      'required': ['kind', 'seq', 't_ns', 'wall_ns', 'ended_by', 'exit', "
	"'descendants_left', 'tree', "
	"'commands', 'commands_other', 'processes', 'metrics', 'lost', 'self'],\n"
	"      'properties': {\n"
	"        'kind': {'const': 'summary'},\n"
	"        'seq': {'$ref': '#/$defs/u64'},\n"
	"        't_ns': {'$ref': '#/$defs/u64'},\n"
	"        'wall_ns': {'$ref': '#/$defs/u64'},\n"
	"        'ended_by': {'enum': ['exit', 'duration', 'signal', 'target', "
	"'exec_failed', 'fixture']},\n"
	"        'exit': {\n"
	"          'type': ['object', 'null'],\n"
	"          'required': ['code', 'signal', 'core_dumped'],\n"
	"          'properties': {\n"
	"            'code': {'type': ['integer', 'null'], 'minimum': 0, 'maximum': 255},\n"
	"            'signal': {'type': ['integer', 'null'], 'minimum': 1, 'maximum': 127},\n"
	"            'signal_name': {'type': 'string'},\n"
	"            'core_dumped': {'type': 'boolean'}\n"
	"          }\n"
	"        },\n"
	"        'descendants_left': {'$ref': '#/$defs/u64'},\n"
	"        'tree': {'$ref': '#/$defs/tree'},\n"
	"        'system': {'$ref': '#/$defs/system'},\n"
	"        'commands': {'type': 'array', 'items': {\n"
	"          'type': 'object',\n"
	"          'required': ['name', 'count', 'wall_ns'],\n"
	"          'properties': {\n"
	"            'name': {'type': 'string'},\n"
	"            'name_hex': {'$ref': '#/$defs/hex'},\n"
	"            'count': {'$ref': '#/$defs/u64'},\n"
	"            'cpu_ns': {'$ref': '#/$defs/value_integer'},\n"
	"            'wall_ns': {'$ref': '#/$defs/u64'},\n"
	"            'peak_rss_bytes': {'$ref': '#/$defs/value_integer'}\n"
	"          }\n"
	"        }},\n"
	"        'commands_other': {'$ref': '#/$defs/u64'},\n"
	"        'processes': {'type': 'array', 'items': {'$ref': '#/$defs/process'}},\n"
	"        'metrics': {'$ref': '#/$defs/metric_states'},\n"
	"        'lost': {\n"
	"          'type': 'object',\n"
	"          'required': ['events', 'samples'],\n"
	"          'properties': {\n"
	"            'events': {'$ref': '#/$defs/u64'},\n"
	"            'samples': {'$ref': '#/$defs/u64'},\n"
	"            'produced': {'$ref': '#/$defs/u64'},\n"
	"            'received': {'$ref': '#/$defs/u64'}\n"
	"          }\n"
	"        },\n"
	"        'self': {\n"
	"          'type': 'object',\n"
	"          'required': ['cpu_ns', 'max_rss_bytes', 'bpf_ns'],\n"
	"          'properties': {\n"
	"            'cpu_ns': {'$ref': '#/$defs/u64'},\n"
	"            'max_rss_bytes': {'$ref': '#/$defs/value_integer'},\n"
	"            'bpf_ns': {'$ref': '#/$defs/value_integer'},\n"
	"            'bpf_runs': {'$ref': '#/$defs/value_integer'},\n"
	"            'bpf_programs': {'$ref': '#/$defs/value_integer'},\n"
	"            'bpf_maps': {'$ref': '#/$defs/value_integer'},\n"
	"            'bpf_map_bytes': {'$ref': '#/$defs/value_integer'},\n"
	"            'load_ns': {'$ref': '#/$defs/value_integer'},\n"
	"            'attach_ns': {'$ref': '#/$defs/value_integer'},\n"
	"            'bystander_runs': {'$ref': '#/$defs/u64'},\n"
	"            'programs': {\n"
	"              'type': 'object',\n"
	"              'additionalProperties': {\n"
	"                'type': 'object',\n"
	"                'required': ['ns', 'runs'],\n"
	"                'properties': {\n"
	"                  'ns': {'$ref': '#/$defs/u64'},\n"
	"                  'runs': {'$ref': '#/$defs/u64'}\n"
	"                }\n"
	"              }\n"
	"            }\n"
	"          }\n"
	"        }\n"
	"      }\n"
	"    },\n";

/* Members of a process besides its metrics. */
static const char process_members[] = "        'pid': {'$ref': '#/$defs/pid'},\n"
				      "        'ppid': {'$ref': '#/$defs/pid'},\n"
				      "        'start_ns': {'$ref': '#/$defs/u64'},\n"
				      "        'end_ns': {'$ref': '#/$defs/value_integer'},\n"
				      "        'name': {'type': 'string'},\n"
				      "        'name_hex': {'$ref': '#/$defs/hex'}";

static void write_quoted(FILE *out, const char *text)
{
	for (const char *p = text; *p; p++)
		fputc(*p == '\'' ? '"' : *p, out);
}

/* Text for a JSON string that is written between its quotes: help texts are ours, plain ASCII. */
static void write_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (const char *p = text; *p; p++) {
		if (*p == '"' || *p == '\\')
			fputc('\\', out);
		fputc(*p, out);
	}
	fputc('"', out);
}

static bool is_part(const struct dn_metric_info *info, enum dn_metric_scope scope, unsigned flags)
{
	return info->scope == scope && (info->flags & flags) == flags;
}

/* indent: of the leaf's key, for a sibling that a table has. */
static void write_leaf(FILE *out, const struct dn_metric_info *info, int indent)
{
	const char *key = strrchr(info->name, '.') + 1, *type = "integer";

	if (info->kind == DN_KIND_HISTOGRAM)
		type = "histogram";
	else if (info->kind == DN_KIND_TABLE)
		type = "table";
	else if (info->unit == DN_UNIT_RATIO || info->unit == DN_UNIT_PERCENT)
		type = "number";
	fprintf(out, "{\"$ref\": \"#/$defs/value_%s\", \"description\": ", type);
	write_string(out, info->help);
	fputc('}', out);
	if (info->kind == DN_KIND_TABLE)
		fprintf(out,
			",\n%*s\"%s_other\": {\"$ref\": \"#/$defs/u64\", \"description\": \"Events "
			"of "
			"keys that found no room in %s; not there when all did\"}",
			indent, "", key, key);
}

/* Where names of the run's own hardware events appear: below hw, of any depth. */
static void write_dynamic(FILE *out, int indent)
{
	fprintf(out,
		",\n%*s\"event\": {\"$ref\": \"#/$defs/hw_dynamic\"},"
		"\n%*s\"cpu_core\": {\"$ref\": \"#/$defs/hw_dynamic\"},"
		"\n%*s\"cpu_atom\": {\"$ref\": \"#/$defs/hw_dynamic\"}",
		indent, "", indent, "", indent, "");
}

/* The members below prefix, each level at the first row that has it. Returns whether there was any.
 */
static bool write_members(FILE *out, const char *prefix, size_t prefix_len,
	enum dn_metric_scope scope, unsigned flags, int indent)
{
	bool any = false;

	for (unsigned id = 0; id < DN_M_STATIC_N; id++) {
		const struct dn_metric_info *info = dn_metric_info(id);
		const char *name;
		size_t len;
		bool first = true;

		if (!is_part(info, scope, flags) || strncmp(info->name, prefix, prefix_len) != 0)
			continue;
		name = info->name + prefix_len;
		len = strcspn(name, ".");
		for (unsigned earlier = 0; earlier < id && first; earlier++) {
			const struct dn_metric_info *other = dn_metric_info(earlier);

			first = !is_part(other, scope, flags) ||
				strncmp(other->name, info->name, prefix_len + len) != 0 ||
				other->name[prefix_len + len] != '.';
		}
		if (!first)
			continue;
		fprintf(out, "%s%*s\"%.*s\": ", any ? ",\n" : "", indent, "", (int)len, name);
		any = true;
		if (name[len] == '\0') {
			write_leaf(out, info, indent);
			continue;
		}
		fprintf(out, "{\n%*s\"type\": \"object\",\n%*s\"properties\": {\n", indent + 2, "",
			indent + 2, "");
		write_members(out, info->name, prefix_len + len + 1, scope, flags, indent + 4);
		if (prefix_len == 0 && scope == DN_SCOPE_TREE && len == 2 &&
			memcmp(name, "hw", 2) == 0)
			write_dynamic(out, indent + 4);
		fprintf(out, "\n%*s}\n%*s}", indent + 2, "", indent, "");
	}
	return any;
}

static void write_object(FILE *out, const char *key, const char *required, const char *members,
	enum dn_metric_scope scope, unsigned flags)
{
	fprintf(out, "    \"%s\": {\n      \"type\": \"object\",\n", key);
	if (required)
		fprintf(out, "      \"required\": [%s],\n", required);
	fputs("      \"properties\": {\n", out);
	if (members) {
		write_quoted(out, members);
		fputs(",\n", out);
	}
	write_members(out, "", 0, scope, flags, 8);
	fputs("\n      }\n    }", out);
}

/* A text of above with one %u or %s, and its quotes. */
static void write_with(FILE *out, const char *text, const char *mark, const char *value)
{
	const char *at = strstr(text, mark);

	for (const char *p = text; *p; p++) {
		if (p == at) {
			fputs(value, out);
			p++;
		} else {
			fputc(*p == '\'' ? '"' : *p, out);
		}
	}
}

void dn_schema_write(FILE *out)
{
	char version[16], qualities[160];
	size_t used = 0;

	snprintf(version, sizeof(version), "%d", DN_SCHEMA_VERSION);
	for (unsigned i = 0; i < DN_QUALITY_N && used < sizeof(qualities); i++)
		used += (size_t)snprintf(qualities + used, sizeof(qualities) - used, "%s\"%s\"",
			i ? ", " : "", dn_quality_name((enum dn_quality)i));
	write_quoted(out, head);
	write_quoted(out, tables);
	write_with(out, header, "%u", version);
	write_quoted(out, machine);
	write_with(out, provenance, "%s", qualities);
	write_quoted(out, records);
	write_quoted(out, summary);
	write_quoted(out,
		"    'hw_dynamic': {\n"
		"      'description': 'Events of --events by name, and counters of one kind of "
		"core; names with dots nest.',\n"
		"      'type': 'object',\n"
		"      'additionalProperties': "
		"{'anyOf': [{'$ref': '#/$defs/value_integer'}, {'$ref': '#/$defs/hw_dynamic'}]}\n"
		"    },\n");
	write_object(out, "tree", NULL, NULL, DN_SCOPE_TREE, 0);
	fputs(",\n", out);
	write_object(out, "system", NULL, NULL, DN_SCOPE_SYSTEM, 0);
	fputs(",\n", out);
	write_object(out, "process", "\"pid\", \"ppid\", \"start_ns\", \"name\"", process_members,
		DN_SCOPE_TREE, DN_FLAG_PROC);
	fputs("\n  }\n}\n", out);
}
