/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints. Off, each is a no-op instruction on the hot path.
 *
 *   mezz_entry	the guest is about to run
 *   mezz_exit	it left, with the reason and the engine's qualifying words
 *   mezz_inject	an event is delivered
 *   mezz_fault	a second-stage fault was settled
 */
#if !defined(MEZZ_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define MEZZ_TRACE_H

#include <linux/tracepoint.h>
#include "vcpu.h"

#undef TRACE_SYSTEM
#define TRACE_SYSTEM mezz

TRACE_EVENT(mezz_entry,
	TP_PROTO(struct mezz_vcpu *v),
	TP_ARGS(v),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(u64, rip)
	),
	TP_fast_assign(
		__entry->vm = v->vm->serial;
		__entry->vcpu = v->id;
		__entry->rip = mezz_get(v, MEZZ_RIP);
	),
	TP_printk("vm %u vcpu %u rip 0x%llx", __entry->vm, __entry->vcpu, __entry->rip)
);

TRACE_EVENT(mezz_exit,
	TP_PROTO(struct mezz_vcpu *v),
	TP_ARGS(v),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(u64, rip)
		__field(const char *, name)
		__field(u64, code)
		__field(u64, info1)
		__field(u64, info2)
	),
	TP_fast_assign(
		__entry->vm = v->vm->serial;
		__entry->vcpu = v->id;
		__entry->rip = mezz_get(v, MEZZ_RIP);
		__entry->name = v->exit->name;
		mezz_engine->exit_info(v, &__entry->code, &__entry->info1, &__entry->info2);
	),
	TP_printk("vm %u vcpu %u rip 0x%llx reason %s (0x%llx) info 0x%llx 0x%llx",
		  __entry->vm, __entry->vcpu, __entry->rip, __entry->name,
		  __entry->code, __entry->info1, __entry->info2)
);

TRACE_EVENT(mezz_inject,
	TP_PROTO(struct mezz_vcpu *v, unsigned int type, u8 vector, u32 err),
	TP_ARGS(v, type, vector, err),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(u32, type)
		__field(u32, err)
		__field(u8, vector)
	),
	TP_fast_assign(
		__entry->vm = v->vm->serial;
		__entry->vcpu = v->id;
		__entry->type = type;
		__entry->err = err;
		__entry->vector = vector;
	),
	TP_printk("vm %u vcpu %u %s vector %u error 0x%x", __entry->vm, __entry->vcpu,
		  __print_symbolic(__entry->type, { MEZZ_EV_IRQ, "irq" },
				   { MEZZ_EV_NMI, "nmi" }, { MEZZ_EV_EXCEPTION, "exception" },
				   { MEZZ_EV_SOFT_INT, "soft-int" },
				   { MEZZ_EV_SOFT_EXC, "soft-exception" }),
		  __entry->vector, __entry->err)
);

TRACE_EVENT(mezz_fault,
	TP_PROTO(struct mezz_vcpu *v, u64 gpa, u32 access, int result),
	TP_ARGS(v, gpa, access, result),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(u64, gpa)
		__field(u32, access)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->vm = v->vm->serial;
		__entry->vcpu = v->id;
		__entry->gpa = gpa;
		__entry->access = access;
		__entry->result = result;
	),
	TP_printk("vm %u vcpu %u gpa 0x%llx access 0x%x -> %s", __entry->vm, __entry->vcpu,
		  __entry->gpa, __entry->access,
		  __print_symbolic(__entry->result, { MEZZ_FAULT_FIXED, "fixed" },
				   { MEZZ_FAULT_MMIO, "mmio" }, { MEZZ_FAULT_AGAIN, "again" },
				   { MEZZ_FAULT_BAD, "bad" }, { MEZZ_FAULT_SIGNAL, "signal" },
				   { MEZZ_FAULT_LATER, "later" }))
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
