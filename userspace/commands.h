/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The commands of the program. Each takes the arguments behind its own name as
 * main() takes its own, and returns the program's exit status.
 */
#ifndef MEZZ_COMMANDS_H
#define MEZZ_COMMANDS_H

/**
 * command_run - `mezz run`: boot a guest, return how it ended
 * @argc: number of arguments
 * @argv: the command's name and its arguments
 */
int command_run(int argc, char **argv);

/**
 * command_info - `mezz info`: what this machine and its driver can do, and why not
 * @argc: number of arguments
 * @argv: the command's name and its arguments
 */
int command_info(int argc, char **argv);

#endif
