/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop 0..3: 0 to 3 times a million rounds of a loop of two instructions. All that it does besides
 * is the same each time, so that two runs differ by a known number of instructions.
 */
int main(int argc, char **argv)
{
	static const unsigned long rounds[4] = {1, 1000001, 2000001, 3000001};
	unsigned long n = rounds[(argc > 1 ? argv[1][0] : '0') & 3];

#if defined(__aarch64__)
	__asm__ volatile("1: subs %0, %0, #1\n\tb.ne 1b" : "+r"(n) : : "cc");
#elif defined(__x86_64__)
	__asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(n) : : "cc");
#endif
	return (int)n;
}
