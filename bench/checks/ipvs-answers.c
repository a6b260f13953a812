/* Preloaded into keepalived where the kernel has no IPVS: each command succeeds at once and changes nothing. What remains is
 * the checker, at less than its real price. Compiled and used by checkers.ts. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <linux/ip_vs.h>

typedef int set_option(int, int, int, const void *, socklen_t);
typedef int get_option(int, int, int, void *, socklen_t *);

static int is_ipvs(int level, int option)
{
	return level == IPPROTO_IP && option >= IP_VS_BASE_CTL && option <= IP_VS_SO_SET_MAX;
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
	static set_option *next;

	if (is_ipvs(level, option))
		return 0;
	if (!next)
		next = (set_option *)dlsym(RTLD_NEXT, "setsockopt");
	return next(fd, level, option, value, length);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
	static get_option *next;

	if (is_ipvs(level, option)) {
		memset(value, 0, *length);
		if (option == IP_VS_SO_GET_INFO)
			((struct ip_vs_getinfo *)value)->version = IP_VS_VERSION_CODE;
		return 0;
	}
	if (!next)
		next = (get_option *)dlsym(RTLD_NEXT, "getsockopt");
	return next(fd, level, option, value, length);
}
