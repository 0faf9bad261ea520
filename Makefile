# SPDX-License-Identifier: GPL-2.0-only
#
# What a person types. The work is done by the scripts in lab/ and by the
# Makefiles of the folders; Kbuild is for the kernel's build system only.
KVER ?= 6.1
BOX ?= svm
DRIVER ?= mezz
CPUS ?= 2
export KVER

.PHONY: all module userspace selftests install-deps run check check-long bench shell lint tour clean help

all: module userspace

help:
	@echo 'make                 the module for kernel KVER ($(KVER)) and the launcher'
	@echo 'make run             a Debian guest, on Mezzanine, in a box'
	@echo 'make check           everything: installs, builds, lints, tests'
	@echo 'make check-long      QEMU in all its machines, migration, the kernel'"'"'s own KVM tests'
	@echo 'make bench           instructions per exit, request and migration, beside in-tree KVM'
	@echo 'make shell BOX=$(BOX)   a prompt in a box (DRIVER=mezz|kvm|none, CPUS=N)'
	@echo 'make lint            checkpatch, sparse, W=1, clang-format, shellcheck'
	@echo 'make tour            the source files in reading order'
	@echo 'make install-deps    the packages and kernels that all this needs'
	@echo 'KVER is 6.1, 6.12, 6.1-cloud, 6.12-cloud, a full version, or $$(uname -r).'

install-deps:
	lab/install

module:
	lab/module $(KVER) W=1

userspace:
	$(MAKE) --no-print-directory -C userspace

selftests:
	$(MAKE) --no-print-directory -C selftests

run:
	lab/run

check:
	lab/check

check-long:
	lab/check --long

bench:
	lab/install
	$(MAKE) --no-print-directory module
	$(MAKE) --no-print-directory -C bench run

shell: module userspace
	lab/box --tty --kernel $(KVER) --cpus $(CPUS) --driver $(DRIVER) --timeout 86400 \
		$(BOX) -- bash -i

tour:
	docs/tour

lint:
	lab/lint

clean:
	rm -rf build
	@for folder in userspace selftests bench; do \
		[ ! -e $$folder/Makefile ] || $(MAKE) --no-print-directory -C $$folder clean; \
	done
