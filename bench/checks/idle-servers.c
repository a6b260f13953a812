/* Thousands of servers that accept connections and hold them, in one process: what holds them must not be what is measured when they
 * die. At SIGTERM nobody listens any more, and then all connections are closed, as when each server were killed on a machine of its
 * own. Without the first the kernel would close what listens last, and call the dead servers alive until then.
 * usage: idle-servers PORT closed|reset; says "listening". Compiled and used by site.ts. */

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener;

static void die(int signal)
{
	(void)signal;
	close(listener);
	_exit(0);
}

int main(int count, char **arguments)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = INADDR_ANY };
	/* Of a connection that is closed without any wait its peer hears by RST (socket(7)). */
	struct linger none = { .l_onoff = 1, .l_linger = 0 };
	int yes = 1;
	int reset, connection;

	if (count != 3) {
		fprintf(stderr, "usage: idle-servers PORT closed|reset\n");
		return 2;
	}
	any.sin_port = htons(atoi(arguments[1]));
	reset = strcmp(arguments[2], "reset") == 0;
	listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(listener, (struct sockaddr *)&any, sizeof any) != 0 || listen(listener, 4096) != 0) {
		fprintf(stderr, "idle-servers: %s\n", strerror(errno));
		return 1;
	}
	signal(SIGTERM, die);
	puts("listening");
	fflush(stdout);
	/* Whoever comes stays open: its descriptor is all that there is of it. */
	while ((connection = accept(listener, NULL, NULL)) >= 0 || errno == EINTR || errno == ECONNABORTED)
		if (connection >= 0 && reset)
			setsockopt(connection, SOL_SOCKET, SO_LINGER, &none, sizeof none);
	fprintf(stderr, "idle-servers: accept: %s\n", strerror(errno));
	return 1;
}
