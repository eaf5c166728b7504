/* SPDX-License-Identifier: Apache-2.0 */
/* tiny [CODE]: ends at once. */
#include "workload.h"

int main(int argc, char **argv)
{
	_exit((int)argument(argc, argv, 1, 0));
}
