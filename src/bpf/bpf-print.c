/* SPDX-License-Identifier: Apache-2.0 */
/* The list for people: what costs most comes first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <denet/fs.h>

#include "bpf-list.h"
#include "bpf-table.h"
#include "sinks.h"

struct page {
	FILE *out;
	const struct dn_bpf_list *list;
	const struct dn_bpf_owners *owners;
	const struct dn_bpf_style *style;
};

/* Dearest first. */

static int by_cost(const void *a, const void *b)
{
	const struct dn_bpf_prog_entry *x = *(const struct dn_bpf_prog_entry *const *)a,
				       *y = *(const struct dn_bpf_prog_entry *const *)b;
	uint64_t x_ns = x->has_interval ? x->interval_ns : x->info.run_ns,
		 y_ns = y->has_interval ? y->interval_ns : y->info.run_ns;

	if (x_ns != y_ns)
		return x_ns > y_ns ? -1 : 1;
	if (x->memory_bytes != y->memory_bytes)
		return x->memory_bytes > y->memory_bytes ? -1 : 1;
	return x->info.id < y->info.id ? -1 : 1;
}

static int by_memory(const void *a, const void *b)
{
	const struct dn_bpf_map_entry *x = *(const struct dn_bpf_map_entry *const *)a,
				      *y = *(const struct dn_bpf_map_entry *const *)b;

	if (x->memory_bytes != y->memory_bytes)
		return x->memory_bytes > y->memory_bytes ? -1 : 1;
	return x->info.id < y->info.id ? -1 : 1;
}

static void number(struct dn_text_table *table, unsigned column, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	dn_text_table_add(table, column, text);
}

static void count(struct dn_text_table *table, unsigned column, bool known, uint64_t value)
{
	char text[32];

	dn_text_table_add(table, column, known ? dn_human_count(value, text, sizeof(text)) : "-");
}

static void bytes(struct dn_text_table *table, unsigned column, bool known, uint64_t value)
{
	char text[32];

	dn_text_table_add(table, column, known ? dn_human_bytes(value, text, sizeof(text)) : "-");
}

static void duration(struct dn_text_table *table, unsigned column, bool known, uint64_t ns)
{
	char text[32];

	dn_text_table_add(table, column, known ? dn_human_duration(ns, text, sizeof(text)) : "-");
}

static void type(
	struct dn_text_table *table, unsigned column, enum dn_bpf_kind kind, uint32_t value)
{
	char buffer[DN_BPF_TYPE_NAME_MAX];

	dn_text_table_add(table, column, dn_bpf_type_name(kind, value, buffer));
}

/* "name (pid)", else where it is pinned; and how many more there are. */
static void owner(const struct page *page, struct dn_text_table *table, unsigned column,
	enum dn_bpf_kind kind, uint32_t id)
{
	unsigned n, first = 0;
	const struct dn_bpf_hold *hold = dn_bpf_owners_of(page->owners, kind, id, &n);
	const struct dn_bpf_holder *holder;
	char text[DN_TABLE_CELL_SIZE], more[24] = "", name[DN_TABLE_CELL_SIZE / 2];

	if (n == 0) {
		dn_text_table_add(
			table, column, dn_bpf_owners_complete(page->owners) ? "none" : "not seen");
		return;
	}
	while (first < n - 1 && !page->owners->holder[hold[first].holder].pid)
		first++;
	if (!page->owners->holder[hold[first].holder].pid)
		first = 0;
	holder = &page->owners->holder[hold[first].holder];
	if (n > 1)
		snprintf(more, sizeof(more), " +%u", n - 1);
	if (holder->pid) {
		dn_text_safe(holder->name, strlen(holder->name), 0, name, sizeof(name));
		snprintf(text, sizeof(text), "%s (%d)%s", name, (int)holder->pid, more);
	} else {
		dn_text_safe(holder->path, strlen(holder->path), 40, name, sizeof(name));
		snprintf(text, sizeof(text), "pinned %s%s", name, more);
	}
	dn_text_table_add(table, column, text);
}

static const char *target_of(const struct dn_bpf_link *link, char *text, size_t size)
{
	const char *attach = dn_bpf_attach_name(link->attach_type);
	char buffer[DN_BPF_TYPE_NAME_MAX], safe[DN_TABLE_CELL_SIZE / 2];

	if (!attach)
		attach = dn_bpf_type_name(DN_BPF_LINK, link->type, buffer);
	dn_text_safe(link->target, strlen(link->target), 40, safe, sizeof(safe));
	snprintf(text, size, "%s%s%s", attach, safe[0] ? " " : "", safe);
	return text;
}

static void attached(const struct page *page, struct dn_text_table *table, unsigned column,
	const struct dn_bpf_prog *prog)
{
	const struct dn_bpf_link *link = dn_bpf_list_link_of(page->list, prog->id, 0);
	char text[DN_TABLE_CELL_SIZE];
	unsigned more = 0;

	if (!link) {
		dn_text_table_add(table, column, "-");
		return;
	}
	while (dn_bpf_list_link_of(page->list, prog->id, more + 1))
		more++;
	target_of(link, text, sizeof(text) - 24);
	if (more)
		snprintf(text + strlen(text), 24, " +%u", more);
	dn_text_table_add(table, column, text);
}

/* Rows that fit the screen, told when some don't. */
static void print_rows(
	const struct page *page, struct dn_text_table *table, unsigned lines, const char *what)
{
	unsigned rows = table->n_rows;

	if (page->style->lines && rows > lines)
		rows = lines > 1 ? lines - 1 : 1;
	dn_text_table_print(table, rows, page->style->columns, page->style->color, page->out);
	if (rows < table->n_rows)
		fprintf(page->out, "and %u more %s that cost less\n", table->n_rows - rows, what);
}

static void add_prog(
	const struct page *page, struct dn_text_table *table, const struct dn_bpf_prog_entry *entry)
{
	const struct dn_bpf_prog *prog = &entry->info;
	bool interval = entry->has_interval, known = dn_bpf_has_runs(page->list, entry);
	uint64_t runs = interval ? entry->interval_runs : prog->runs,
		 ns = interval ? entry->interval_ns : prog->run_ns;
	double seconds = (double)page->list->interval_ns / 1e9;
	char text[32];

	number(table, 0, prog->id);
	type(table, 1, DN_BPF_PROG, prog->type);
	dn_text_table_add(table, 2, prog->name[0] ? prog->name : "-");
	if (interval && seconds > 0) {
		count(table, 3, true, (uint64_t)((double)runs / seconds + 0.5));
		dn_text_table_add(
			table, 4, dn_human_percent((double)ns / seconds / 1e7, text, sizeof(text)));
	} else {
		count(table, 3, known, runs);
		duration(table, 4, known, ns);
	}
	duration(table, 5, known && runs > 0, runs ? ns / runs : 0);
	bytes(table, 6, entry->has_memory, entry->memory_bytes);
	attached(page, table, 7, prog);
	owner(page, table, 8, DN_BPF_PROG, prog->id);
}

static int print_programs(const struct page *page, unsigned lines)
{
	static const char *const moment[] = {">ID", "PROGRAM", "NAME", ">RUNS", ">RUN TIME",
		">PER RUN", ">MEMORY", "ATTACHED TO", "OWNER"};
	static const char *const interval[] = {">ID", "PROGRAM", "NAME", ">RUNS/S", ">CPU",
		">PER RUN", ">MEMORY", "ATTACHED TO", "OWNER"};
	unsigned n = page->list->n[DN_BPF_PROG];
	const struct dn_bpf_prog_entry **order = calloc((size_t)n + 1, sizeof(*order));
	struct dn_text_table table;

	if (!order)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		order[i] = &page->list->prog[i];
	qsort(order, n, sizeof(*order), by_cost);
	dn_text_table_init(&table, page->list->interval_ns ? interval : moment, 9, "51673");
	for (unsigned i = 0; i < n; i++)
		add_prog(page, &table, order[i]);
	if (n)
		print_rows(page, &table, lines, "programs");
	free(order);
	dn_text_table_finish(&table);
	return table.failed ? -ENOMEM : 0;
}

static int print_maps(const struct page *page)
{
	static const char *const title[] = {
		">ID", "MAP", "NAME", ">KEY", ">VALUE", ">ENTRIES", ">MEMORY", "FROZEN", "OWNER"};
	unsigned n = page->list->n[DN_BPF_MAP];
	const struct dn_bpf_map_entry **order = calloc((size_t)n + 1, sizeof(*order));
	struct dn_text_table table;

	if (!order)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		order[i] = &page->list->map[i];
	qsort(order, n, sizeof(*order), by_memory);
	dn_text_table_init(&table, title, 9, "73415");
	for (unsigned i = 0; i < n; i++) {
		const struct dn_bpf_map *map = &order[i]->info;

		number(&table, 0, map->id);
		type(&table, 1, DN_BPF_MAP, map->type);
		dn_text_table_add(&table, 2, map->name[0] ? map->name : "-");
		number(&table, 3, map->key_bytes);
		number(&table, 4, map->value_bytes);
		number(&table, 5, map->max_entries);
		bytes(&table, 6, order[i]->has_memory, order[i]->memory_bytes);
		dn_text_table_add(&table, 7,
			!order[i]->has_frozen ? "-"
			: order[i]->frozen    ? "yes"
					      : "no");
		owner(page, &table, 8, DN_BPF_MAP, map->id);
	}
	if (n) {
		fputc('\n', page->out);
		print_rows(page, &table, 0, "maps");
	}
	free(order);
	dn_text_table_finish(&table);
	return table.failed ? -ENOMEM : 0;
}

static int print_links(const struct page *page)
{
	static const char *const title[] = {">ID", "LINK", ">PROGRAM", "ATTACHED TO", "OWNER"};
	unsigned n = page->list->n[DN_BPF_LINK];
	struct dn_text_table table;

	dn_text_table_init(&table, title, 5, "123");
	for (unsigned i = 0; i < n; i++) {
		const struct dn_bpf_link *link = &page->list->link[i];
		char text[DN_TABLE_CELL_SIZE];

		number(&table, 0, link->id);
		type(&table, 1, DN_BPF_LINK, link->type);
		number(&table, 2, link->prog_id);
		dn_text_table_add(&table, 3, target_of(link, text, sizeof(text)));
		owner(page, &table, 4, DN_BPF_LINK, link->id);
	}
	if (n) {
		fputc('\n', page->out);
		print_rows(page, &table, 0, "links");
	}
	dn_text_table_finish(&table);
	return table.failed ? -ENOMEM : 0;
}

static const char *plural(unsigned n)
{
	return n == 1 ? "" : "s";
}

static void print_totals(const struct page *page)
{
	const struct dn_bpf_list *list = page->list;
	const unsigned *n = list->n;
	struct dn_bpf_totals totals;
	char a[32], b[32];

	dn_bpf_list_totals(list, &totals);
	if (n[DN_BPF_PROG] + n[DN_BPF_MAP])
		fputc('\n', page->out);
	fprintf(page->out, "%u program%s with %s, %u map%s with %s", n[DN_BPF_PROG],
		plural(n[DN_BPF_PROG]), dn_human_bytes(totals.prog_bytes, a, sizeof(a)),
		n[DN_BPF_MAP], plural(n[DN_BPF_MAP]),
		dn_human_bytes(totals.map_bytes, b, sizeof(b)));
	if (!list->no_links)
		fprintf(page->out, ", %u link%s", n[DN_BPF_LINK], plural(n[DN_BPF_LINK]));
	if (list->interval_ns) {
		double seconds = (double)list->interval_ns / 1e9;

		fprintf(page->out, "; %s runs/s, %s of one CPU\n",
			dn_human_count((uint64_t)((double)totals.interval_runs / seconds + 0.5), a,
				sizeof(a)),
			dn_human_percent((double)totals.interval_ns / seconds / 1e7, b, sizeof(b)));
	} else if (totals.has_runs && totals.runs) {
		fprintf(page->out, "; %s runs took %s\n", dn_human_count(totals.runs, a, sizeof(a)),
			dn_human_duration(totals.run_ns, b, sizeof(b)));
	} else {
		fputc('\n', page->out);
	}
}

/* What the numbers are not. */
static void print_notes(const struct page *page)
{
	const struct dn_bpf_list *list = page->list;
	const struct dn_bpf_owners *owners = page->owners;
	unsigned unread =
		list->unread[DN_BPF_PROG] + list->unread[DN_BPF_MAP] + list->unread[DN_BPF_LINK];

	if (!list->interval_ns && list->n[DN_BPF_PROG])
		fprintf(page->out,
			"Runs and run time are those of the times when statistics were on%s.\n",
			list->stats_on == 1   ? ", as they are now"
			: list->stats_on == 0 ? "; they are off now, --watch turns them on"
					      : "");
	if (list->gone)
		fprintf(page->out,
			"%u program%s went away; what they ran at the end is not counted.\n",
			list->gone, plural(list->gone));
	if (owners->denied)
		fprintf(page->out, "Owners: %u process%s could not be looked into.\n",
			owners->denied, owners->denied == 1 ? "" : "es");
	if (owners->outside)
		fputs("Owners: processes outside of this PID namespace are not seen.\n", page->out);
	if (owners->cut)
		fputs("Owners: there are more descriptors than are looked at.\n", page->out);
	if (unread)
		fprintf(page->out, "%u object%s could not be looked at.\n", unread, plural(unread));
	if (list->cut[DN_BPF_PROG] || list->cut[DN_BPF_MAP] || list->cut[DN_BPF_LINK])
		fprintf(page->out,
			"There are more objects than the %u of a kind that are listed.\n",
			DN_BPF_OBJECTS_MAX);
	if (list->no_links)
		fputs("This kernel does not tell of links.\n", page->out);
}

int dn_bpf_print(FILE *out, const struct dn_bpf_list *list, const struct dn_bpf_owners *owners,
	const struct dn_bpf_style *style)
{
	const struct page page = {out, list, owners, style};
	/* Title, totals, a blank line and two notes stand around the rows. */
	unsigned lines = style->lines > 8 ? style->lines - 6 : 2;
	int r = print_programs(&page, lines);

	/* What repeats by the second is what runs. */
	if (r == 0 && !list->interval_ns)
		r = print_maps(&page);
	if (r == 0 && !list->interval_ns)
		r = print_links(&page);
	print_totals(&page);
	print_notes(&page);
	return r;
}
