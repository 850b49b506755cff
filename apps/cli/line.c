#include "line.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef CLI_HAVE_LIBEDIT
#include <histedit.h>
#endif

#include "generate.h"
#include "interrupt.h"
#include "report.h"

enum { HISTORY_LINES = 1000, MOST_LINE = 1 << 24 };

struct cli_line {
    bool terminal, more;  /* more: inside a line that goes on */
    cli_buffer text, raw; /* raw: one line of a pipe */
#ifdef CLI_HAVE_LIBEDIT
    EditLine *edit;
    History *history;
    char history_path[4096]; /* "": none */
#endif
};

#ifdef CLI_HAVE_LIBEDIT
static char *prompt(EditLine *edit)
{
    static char first[] = "> ", next[] = ". ";
    cli_line *l = NULL;
    (void)el_get(edit, EL_CLIENTDATA, &l);
    return l && l->more ? next : first;
}

/* Makes the folder of the history file; false: no place for it. */
static bool history_path(char *out, size_t cap)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n;
    if (state && *state == '/')
        n = snprintf(out, cap, "%s/accllm/history", state);
    else if (home && *home == '/')
        n = snprintf(out, cap, "%s/.local/state/accllm/history", home);
    else
        return false;
    if (n < 0 || (size_t)n >= cap) return false;
    for (char *slash = strchr(out + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool ok = mkdir(out, 0700) == 0 || errno == EEXIST;
        *slash = '/';
        if (!ok) return false;
    }
    return true;
}

/* The editor drops what is no character of the locale; our text is UTF-8 whatever the locale says. Nothing else here
 * looks at LC_CTYPE. */
static void take_utf8(void)
{
    if (setlocale(LC_CTYPE, "") && strcmp(nl_langinfo(CODESET), "UTF-8") == 0) return;
    (void)setlocale(LC_CTYPE, "C.UTF-8");
}

static bool open_editor(cli_line *l)
{
    HistEvent event;
    take_utf8();
    l->edit = el_init("accllm", stdin, stdout, stderr);
    l->history = history_init();
    if (!l->edit || !l->history) return false;
    (void)el_set(l->edit, EL_CLIENTDATA, l);
    (void)el_set(l->edit, EL_PROMPT, prompt);
    (void)el_set(l->edit, EL_EDITOR, "emacs");
    (void)el_set(l->edit, EL_SIGNAL, 0);
    (void)history(l->history, &event, H_SETSIZE, HISTORY_LINES);
    (void)el_set(l->edit, EL_HIST, history, l->history);
    if (!history_path(l->history_path, sizeof l->history_path)) l->history_path[0] = '\0';
    if (l->history_path[0]) (void)history(l->history, &event, H_LOAD, l->history_path); /* absent the first time */
    return true;
}

static void close_editor(cli_line *l)
{
    HistEvent event;
    if (l->history && l->history_path[0]) {
        mode_t old = umask(077);
        (void)history(l->history, &event, H_SAVE, l->history_path);
        (void)umask(old);
    }
    if (l->edit) el_end(l->edit);
    if (l->history) history_end(l->history);
}

static const char *edited_line(cli_line *l, size_t *len)
{
    int n = 0;
    HistEvent event;
    const char *s = el_gets(l->edit, &n);
    if (!s || n <= 0) return NULL;
    if (*s != '\n') (void)history(l->history, &event, H_ENTER, s);
    *len = (size_t)n;
    return s;
}
#else
static bool open_editor(cli_line *l)
{
    (void)l;
    return true;
}

static void close_editor(cli_line *l)
{
    (void)l;
}
#endif

cli_line *cli_line_open(void)
{
    cli_line *l = calloc(1, sizeof *l);
    if (l) l->terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (!l || (l->terminal && !open_editor(l))) {
        cli_error("out of memory: line editor");
        if (l) cli_line_close(&l);
        return NULL;
    }
    return l;
}

/* Reads a line with its newline; one that is too long breaks off just beyond the limit. NULL: the end or an error. */
static const char *plain_line(cli_line *l, size_t *len)
{
    l->raw.len = 0;
    for (int c = 0; c != '\n' && l->raw.len <= MOST_LINE;) {
        c = getc(stdin);
        if (c == EOF) break;
        const char byte = (char)c;
        if (!cli_buffer_add(&l->raw, &byte, 1)) return NULL;
    }
    *len = l->raw.len;
    return l->raw.len > 0 ? l->raw.data : NULL;
}

static const char *next_raw(cli_line *l, size_t *len)
{
#ifdef CLI_HAVE_LIBEDIT
    if (l->terminal) return edited_line(l, len);
#endif
    if (l->terminal) {
        (void)fputs(l->more ? ". " : "> ", stdout);
        (void)fflush(stdout);
    }
    return plain_line(l, len);
}

/* The next line, unless a signal came before its end. Once a line is entered at the terminal, Ctrl-C is meant for what
 * it asks for: the flag stays up for that. */
static bool read_raw(cli_line *l, const char **raw, size_t *n)
{
    cli_interrupt_set_reading(true);
    *raw = cli_interrupted() ? NULL : next_raw(l, n);
    cli_interrupt_set_reading(false);
    if (!cli_interrupted()) return true;
    const char *s = *raw;
    bool entered = s && *n > 0 && s[*n - 1] == '\n' && !(*n > 1 && s[*n - 2] == '\\');
    return l->terminal && entered;
}

static cli_line_result failed(const char *why)
{
    cli_error("standard input: %s", why);
    return CLI_LINE_FAILED;
}

cli_line_result cli_line_read(cli_line *l, const char **text, size_t *len)
{
    l->text.len = 0;
    l->more = false;
    for (;;) {
        size_t n = 0;
        errno = 0;
        const char *raw;
        if (!read_raw(l, &raw, &n)) {
            clearerr(stdin);
            return CLI_LINE_INTERRUPTED;
        }
        if (!raw && (errno == ENOMEM || ferror(stdin))) return failed(strerror(errno ? errno : EIO));
        if (!raw && !l->more) return CLI_LINE_END;
        if (n > 0 && raw[n - 1] == '\n') n--;
        bool goes_on = raw && n > 0 && raw[n - 1] == '\\';
        if (goes_on) n--;
        if (l->text.len + n > MOST_LINE) return failed("a line is too long (16 MiB at most)");
        if (!cli_buffer_add(&l->text, raw ? raw : "", n)) return failed("out of memory");
        if (!goes_on) break;
        if (!cli_buffer_add(&l->text, "\n", 1)) return failed("out of memory");
        l->more = true;
    }
    *text = l->text.data;
    *len = l->text.len;
    return CLI_LINE_TEXT;
}

bool cli_line_is_terminal(const cli_line *l)
{
    return l->terminal;
}

void cli_line_close(cli_line **l)
{
    if (!*l) return;
    if ((*l)->terminal) close_editor(*l);
    free((*l)->text.data);
    free((*l)->raw.data);
    free(*l);
    *l = NULL;
}
