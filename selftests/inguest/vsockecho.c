// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program for guests with a vsock device: it sends to a port of the host, who is
 * to send all of it back.
 *
 *   vsockecho PORT KIB
 *
 * Each piece of 4 KiB is read again before the next is sent. "vsockecho: ok" ends it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#define PIECE 4096

static int fail(const char *what)
{
	perror(what);
	return 1;
}

int main(int argc, char **argv)
{
	struct sockaddr_vm host = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST };
	unsigned long pieces, i;
	uint8_t out[PIECE], in[PIECE];
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (argc != 3) {
		fprintf(stderr, "usage: vsockecho PORT KIB\n");
		return 2;
	}
	host.svm_port = strtoul(argv[1], NULL, 0);
	pieces = strtoul(argv[2], NULL, 0) * 1024 / PIECE;
	if (fd < 0)
		return fail("socket");
	if (connect(fd, (struct sockaddr *)&host, sizeof(host)))
		return fail("connect");
	for (i = 0; i < pieces; i++) {
		size_t got = 0;

		for (size_t k = 0; k < PIECE; k++)
			out[k] = (uint8_t)(i * 7 + k * 13);
		if (write(fd, out, PIECE) != PIECE)
			return fail("write");
		while (got < PIECE) {
			ssize_t n = read(fd, in + got, PIECE - got);

			if (n <= 0)
				return fail("read");
			got += n;
		}
		if (memcmp(in, out, PIECE)) {
			printf("vsockecho: BAD piece %lu\n", i);
			return 1;
		}
	}
	printf("vsockecho: ok\n");
	return 0;
}
