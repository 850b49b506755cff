#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "report.h"

int cli_notify_open(void)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!name || !*name) return -1;
    const size_t len = strlen(name);
    if ((*name != '/' && *name != '@') || len >= sizeof address.sun_path) {
        cli_error("note: NOTIFY_SOCKET %s: no path of a socket", name);
        return -1;
    }
    memcpy(address.sun_path, name, len);
    if (*name == '@') address.sun_path[0] = '\0'; /* an abstract one */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 &&
        connect(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0)
        return fd;
    cli_error("note: NOTIFY_SOCKET %s: %s", name, strerror(errno));
    if (fd >= 0) (void)close(fd);
    return -1;
}

void cli_notify(int fd, const char *lines)
{
    const int before = errno; /* of what a signal interrupted */
    if (fd >= 0) (void)send(fd, lines, strlen(lines), MSG_NOSIGNAL);
    errno = before;
}
