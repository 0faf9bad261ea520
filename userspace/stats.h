/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counts of what happened while the guest ran, summed over vCPUs and resets.
 */
#ifndef MEZZ_STATS_H
#define MEZZ_STATS_H

#include <stdbool.h>

struct machine;

/**
 * stats_collect - add up a machine's counts, the driver's and our own
 * @m: machine whose vCPUs do not run any more
 */
void stats_collect(struct machine *m);

/**
 * stats_print - print what was collected on stderr
 * @all: all of the driver's statistics, not just one line
 */
void stats_print(bool all);

#endif
