/* SPDX-License-Identifier: Apache-2.0 */
/* Runs at build time: object files to a C source that holds them. embed OUTPUT FILE... */
#include <stdio.h>
#include <string.h>

/* process.hash.stripped.o: name "process", of the variant "hash" */
static int is_hash(const char *base)
{
	return strstr(base, ".hash.") != NULL;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int embed(FILE *out, const char *path, int n)
{
	FILE *in = fopen(path, "rb");
	unsigned long size = 0;
	int c;

	if (!in) {
		perror(path);
		return -1;
	}
	fprintf(out, "static const unsigned char image_%d[] __attribute__((aligned(8))) = {", n);
	while ((c = fgetc(in)) != EOF)
		fprintf(out, "%s%d,", size++ % 32 ? "" : "\n", c);
	fprintf(out, "\n};\n");
	fclose(in);
	return size ? 0 : -1;
}

int main(int argc, char **argv)
{
	FILE *out = argc > 2 ? fopen(argv[1], "w") : NULL;

	if (!out) {
		perror(argc > 1 ? argv[1] : "embed");
		return 1;
	}
	fprintf(out, "/* made by bpf/embed.c */\n#include \"object.h\"\n");
	for (int i = 2; i < argc; i++) {
		if (embed(out, argv[i], i) < 0)
			return 1;
	}
	fprintf(out, "const struct dn_ebpf_image dn_ebpf_images[] = {\n");
	for (int i = 2; i < argc; i++) {
		const char *base = base_of(argv[i]);

		fprintf(out, "\t{\"%.*s\", %d, image_%d, sizeof(image_%d)},\n",
			(int)strcspn(base, "."), base, is_hash(base), i, i);
	}
	fprintf(out, "};\nconst unsigned dn_n_ebpf_images = %d;\n", argc - 2);
	return fclose(out) ? 1 : 0;
}
