/* Manual pages in the man(7) macros, made from the tables of commands and options. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "accllm/status.h"
#include "commands.h"

enum { LINE = 76 };

/* A character as roff shows it, wherever it stands in a line. */
static void put_char(char c)
{
    switch (c) {
    case '\\':
        (void)fputs("\\e", stdout);
        return;
    case '-':
        (void)fputs("\\-", stdout);
        return;
    case '\'':
        (void)fputs("\\(aq", stdout);
        return;
    case '`':
        (void)fputs("\\(ga", stdout);
        return;
    case '^':
        (void)fputs("\\(ha", stdout);
        return;
    case '~':
        (void)fputs("\\(ti", stdout);
        return;
    default:
        (void)putchar(c);
    }
}

static void put(const char *text)
{
    while (*text) put_char(*text++);
}

static void put_word(const char *text, size_t len)
{
    if (*text == '.') (void)fputs("\\&", stdout); /* a line that begins with one is a request */
    for (size_t i = 0; i < len; i++) put_char(text[i]);
}

/* Words of one paragraph, in lines of some length; blanks between them do not count. */
static void put_words(const char *text, size_t len)
{
    size_t column = 0, n;
    for (const char *at = text, *end = text + len; at < end; at += n) {
        n = 0;
        while (at < end && *at == ' ') at++;
        while (at + n < end && at[n] != ' ') n++;
        if (n == 0) break;
        if (column > 0) (void)putchar(column + n < LINE ? ' ' : '\n');
        column = column > 0 && column + n < LINE ? column + n + 1 : n;
        put_word(at, n);
    }
    (void)putchar('\n');
}

/* Paragraphs, one a line. A line that begins with two blanks is a table's: a name, blanks, what it means; one with more
 * goes on with that. */
static void put_paragraphs(const char *text)
{
    const char *first = text;
    for (size_t n; *text; text += n + (text[n] == '\n')) {
        n = strcspn(text, "\n");
        const bool row = strncmp(text, "  ", 2) == 0, more = row && text[2] == ' ';
        size_t name = 0;
        if (row && !more) {
            const char *gap = strstr(text + 2, "  ");
            name = gap && gap < text + n ? (size_t)(gap - text) : n;
            (void)fputs(".TP\n", stdout);
            put_words(text, name);
        } else if (!row && text > first) {
            (void)fputs(".PP\n", stdout);
        }
        put_words(text + name, n - name);
    }
}

static void put_examples(const char *lines)
{
    (void)fputs(".SH EXAMPLES\n.nf\n", stdout);
    for (size_t n; *lines; lines += n + (lines[n] == '\n')) {
        n = strcspn(lines, "\n");
        put_word(lines, n);
        (void)putchar('\n');
    }
    (void)fputs(".fi\n", stdout);
}

static void put_title(const char *name)
{
    (void)fputs(".TH ACCLLM", stdout);
    if (*name) (void)fputs("\\-", stdout);
    for (; *name; name++)
        if (*name == ' ')
            (void)fputs("\\-", stdout);
        else
            (void)putchar(toupper((unsigned char)*name));
    (void)printf(" 1 \"\" \"AccLLM %s\" \"AccLLM\"\n", accllm_version());
}

/* accllm-eval-ppl */
static void put_page_name(const cli_command *c)
{
    (void)fputs("accllm\\-", stdout);
    for (const char *at = c->name; *at; at++) put_char(*at == ' ' ? '-' : *at);
}

static void put_option(const cli_option *opt)
{
    (void)fputs(".TP\n", stdout);
    if (opt->letter) (void)printf("\\fB\\-%c\\fR, ", opt->letter);
    (void)fputs("\\fB\\-\\-", stdout);
    put(opt->name);
    (void)fputs("\\fR", stdout);
    if (opt->argument) {
        (void)fputs(" \\fI", stdout);
        put(opt->argument);
        (void)fputs("\\fR", stdout);
    }
    (void)putchar('\n');
    put_words(opt->help, strlen(opt->help));
}

void cli_manual_command(const cli_command *c)
{
    put_title(c->name);
    (void)fputs(".SH NAME\n", stdout);
    put_page_name(c);
    (void)fputs(" \\- ", stdout);
    put_words(c->summary, strlen(c->summary));
    (void)printf(".SH SYNOPSIS\n.B accllm %s\n", c->name);
    put_words(c->arguments, strlen(c->arguments));
    (void)fputs("[OPTIONS]\n", stdout);
    if (c->details) {
        (void)fputs(".SH DESCRIPTION\n", stdout);
        put_paragraphs(c->details);
    }
    (void)fputs(".SH OPTIONS\nDefaults stand in parentheses.\n", stdout);
    for (size_t i = 0; i < cli_option_count; i++)
        if (cli_command_takes(c, &cli_option_table[i])) put_option(&cli_option_table[i]);
    put_examples(c->examples);
    (void)fputs(".SH SEE ALSO\n.BR accllm (1)\n", stdout);
}

void cli_manual_main(void)
{
    put_title("");
    (void)fputs(
        ".SH NAME\naccllm \\- " CLI_SUMMARY "\n"
        ".SH SYNOPSIS\n.B accllm\n.I COMMAND\n[OPTIONS]\n.br\n.B accllm help\n.RI [ COMMAND ]\n.br\n"
        ".B accllm help \\-\\-format\nman|bash|zsh|fish\n.RI [ COMMAND ]\n.br\n.B accllm \\-\\-version\n"
        ".SH DESCRIPTION\n"
        "Compresses Llama\\-family language models and runs them on a CPU: attention to the first tokens and a\n"
        "recent window, a 4\\-bit cache and weights of 2 to 8 bits keep the memory small and fixed, however long\n"
        "the text. Results are the same bits on every instruction set and number of threads.\n"
        ".SH COMMANDS\n",
        stdout);
    for (size_t i = 0; i < cli_command_count; i++) {
        const cli_command *c = &cli_commands[i];
        if (!c->run) continue;
        (void)printf(".TP\n.BR accllm\\-");
        for (const char *at = c->name; *at; at++) put_char(*at == ' ' ? '-' : *at);
        (void)fputs(" (1)\n", stdout);
        put_words(c->summary, strlen(c->summary));
    }
    (void)fputs(
        ".TP\n.B accllm help\nshow all commands, or one's options; with \\fB\\-\\-format\\fR, the manual page as\n"
        "roff, or what completes commands and options in that shell\n"
        ".SH EXIT STATUS\n0: done; 1: failed, with one line on standard error; 2: bad usage; 130: interrupted.\n"
        ".SH ENVIRONMENT\n"
        ".TP\n.B ACCLLM_ISA\nthe instruction set where \\fB\\-\\-isa\\fR does not say\n"
        ".TP\n.B ACCLLM_API_KEY\nthe key of \\fBaccllm serve\\fR where no option gives one\n"
        ".TP\n.B ACCLLM_RTL\nthe accelerator's RTL for \\fB\\-\\-backend rtl\\fR, a shared object that "
        "scripts/build\\-rtl makes\n"
        ".TP\n.B TMPDIR\nwhere \\fBaccllm eval ladder\\fR makes its 8\\-bit file if none is named (/tmp)\n"
        ".TP\n.B NOTIFY_SOCKET\nwhere \\fBaccllm serve\\fR tells a service manager its state (see sd_notify(3))\n"
        ".TP\n.B XDG_STATE_HOME\nthe folder of \\fBaccllm chat\\fR's history (\\(ti/.local/state)\n",
        stdout);
    put_examples(CLI_FIRST_STEPS);
}
