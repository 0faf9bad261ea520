# SPDX-License-Identifier: GPL-2.0-only
"""The parts of lab/box. Each module says in its own head what it is for."""
