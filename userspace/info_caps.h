/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tables for `mezz info`.
 */
#ifndef MEZZ_INFO_CAPS_H
#define MEZZ_INFO_CAPS_H

/** struct info_cap - a capability of the ABI */
struct info_cap {
	unsigned int cap; /* KVM_CAP_* */
	const char *name; /* without KVM_CAP_ */
};

/** struct info_need - a capability that the launcher looks for */
struct info_need {
	unsigned int cap;
	const char *why; /* what it is needed for, or what happens without it */
};

extern const struct info_cap info_caps[];
extern const unsigned int info_ncaps;
extern const struct info_need info_needed[];
extern const unsigned int info_nneeded;

/**
 * info_cap_name - name of a capability
 * @cap: KVM_CAP_*
 */
const char *info_cap_name(unsigned int cap);

#endif
