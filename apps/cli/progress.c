#include "progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "report.h"

#define PLAIN_SECONDS 60 /* a plain line at least this often, and one for every tenth of the work */

/* What is on the terminal now. A process has one standard error, so this state is the process's. */
static struct {
    bool shown; /* a changing line is on the terminal */
    double at;  /* when it was written */
    int tenth;  /* plain lines: the last one written, + 1 */
} state;

static void format_left(double seconds, char *out, size_t cap)
{
    unsigned long s = seconds < 1e8 ? (unsigned long)(seconds + 0.5) : 99999999;
    if (seconds < 0)
        (void)snprintf(out, cap, "%s", "");
    else if (s >= 3600)
        (void)snprintf(out, cap, ", %lu h %02lu min left", s / 3600, s / 60 % 60);
    else
        (void)snprintf(out, cap, ", %lu:%02lu left", s / 60, s % 60);
}

void cli_progress_show(const char *stage, const char *detail, double fraction, double seconds_left)
{
    bool tty = isatty(STDERR_FILENO);
    double now = cli_seconds();
    fraction = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
    int tenth = (int)(fraction * 10);
    if (tenth + 1 < state.tenth) state.tenth = 0; /* other work has begun */
    if (tty ? state.shown && now - state.at < 0.1 && fraction < 1
            : tenth < state.tenth && now - state.at < PLAIN_SECONDS)
        return;
    char left[64];
    format_left(seconds_left, left, sizeof left);
    (void)fprintf(stderr, "%s%3.0f%% %s%s%s%s%s", tty ? "\r\033[K" : "", fraction * 100, stage, detail ? ", " : "",
                  detail ? detail : "", left, tty ? "" : "\n");
    (void)fflush(stderr);
    state.shown = tty;
    state.at = now;
    state.tenth = tenth + 1;
}

void cli_progress_clear(void)
{
    if (state.shown) (void)fputs("\r\033[K", stderr);
    state.shown = false;
}
