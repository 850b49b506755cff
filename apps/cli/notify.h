/* What a service manager is told: systemd's sd_notify protocol, one datagram for each message. */
#ifndef CLI_NOTIFY_H
#define CLI_NOTIFY_H

/* A socket to where $NOTIFY_SOCKET says, or -1: nobody asked, or, with a note on standard error, it cannot be had. The
 * caller closes it. */
int cli_notify_open(void);
/* Sends lines such as "READY=1"; nothing to -1. Safe in a signal handler. A manager that went away is no error. */
void cli_notify(int fd, const char *lines);

#endif
