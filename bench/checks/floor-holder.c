/* Holds idle connections as node-holder.ts does, and does for a loss what the kernel has to be asked and nothing more: one that the server
 * closes is dialled again and refused, one that is reset is done with. How soon that is told is the floor under everything else that
 * is measured beside it. It is asked over the channel that Node gives to its children, a line of JSON at a time.
 * Compiled and started by checkers.ts. */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_EVENTS 64
#define MOST_DESCRIPTORS (1 << 20)

static int channel, epoll, port;
static in_addr_t peers[MOST_DESCRIPTORS];
static int dialling[MOST_DESCRIPTORS];
static long up, lost;
static double first_lost_at, last_lost_at;

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1e3 + at.tv_nsec / 1e6;
}

static void fail(const char *what)
{
	fprintf(stderr, "floor-holder: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void watch(int connection, unsigned events)
{
	struct epoll_event event = { .events = events | EPOLLET, .data.fd = connection };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection, &event) != 0)
		fail("epoll_ctl");
}

static void tell_lost(void)
{
	last_lost_at = now();
	if (lost++ == 0)
		first_lost_at = last_lost_at;
	up--;
}

static void dial(in_addr_t peer)
{
	struct sockaddr_in there = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = peer };
	int connection = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (connection < 0 || connection >= MOST_DESCRIPTORS)
		fail("socket");
	peers[connection] = peer;
	dialling[connection] = 0;
	if (connect(connection, (struct sockaddr *)&there, sizeof there) != 0) {
		if (errno != EINPROGRESS) {
			tell_lost();
			close(connection);
			return;
		}
		dialling[connection] = 1;
	}
	watch(connection, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
}

static void on_event(int connection)
{
	socklen_t size = sizeof(int);
	char octets[4096];
	int error = 0;
	ssize_t length;

	if (dialling[connection]) {
		dialling[connection] = 0;
		getsockopt(connection, SOL_SOCKET, SO_ERROR, &error, &size);
		if (error != 0) {
			tell_lost();
			close(connection);
		}
		return;
	}
	length = recv(connection, octets, sizeof octets, 0);
	if (length > 0 || (length < 0 && errno == EAGAIN))
		return;
	if (length == 0)
		dial(peers[connection]);
	else
		tell_lost();
	close(connection);
}

/* Server `index` has the address that addressOf in site.ts gives to it. */
static void hold(long index)
{
	struct sockaddr_in there = { .sin_family = AF_INET, .sin_port = htons(port) };
	int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int yes = 1;

	there.sin_addr.s_addr = htonl((127u << 24) + (1u << 16) + (unsigned)(index / 254 << 8) + 1 + (unsigned)(index % 254));
	if (connection < 0 || connection >= MOST_DESCRIPTORS)
		fail("socket");
	if (connect(connection, (struct sockaddr *)&there, sizeof there) != 0)
		fail("connect");
	setsockopt(connection, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
	peers[connection] = there.sin_addr.s_addr;
	watch(connection, EPOLLIN | EPOLLRDHUP);
	up++;
}

static long number(const char *order, const char *name)
{
	const char *at = strstr(order, name);

	return at == NULL ? 0 : atol(at + strlen(name));
}

static void answer(void)
{
	dprintf(channel, "{\"up\":%ld,\"complaint\":\"\",\"lost\":%ld,\"firstLostAt\":%f,\"lastLostAt\":%f}\n", up, lost,
		first_lost_at, last_lost_at);
}

static void on_order(void)
{
	char order[4096];
	ssize_t length = read(channel, order, sizeof order - 1);
	long servers;

	if (length <= 0)
		exit(0);
	order[length] = 0;
	servers = number(order, "\"servers\":");
	if (servers > 0)
		port = number(order, "\"port\":");
	for (long index = 0; index < servers; index++)
		hold(index);
	answer();
}

int main(void)
{
	struct epoll_event events[MOST_EVENTS];
	struct rlimit descriptors;
	const char *given = getenv("NODE_CHANNEL_FD");
	int count;

	if (given == NULL) {
		fprintf(stderr, "floor-holder: started by checkers.ts only\n");
		return 2;
	}
	getrlimit(RLIMIT_NOFILE, &descriptors);
	descriptors.rlim_cur = descriptors.rlim_max;
	setrlimit(RLIMIT_NOFILE, &descriptors);
	channel = atoi(given);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	watch(channel, EPOLLIN);
	answer();
	for (;;) {
		count = epoll_wait(epoll, events, MOST_EVENTS, -1);
		if (count < 0 && errno != EINTR)
			fail("epoll_wait");
		for (int at = 0; at < count; at++) {
			if (events[at].data.fd == channel)
				on_order();
			else
				on_event(events[at].data.fd);
		}
	}
}
