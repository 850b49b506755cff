/* Help texts, made from the tables of commands and options. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "report.h"

enum { HELP_COLUMN = 26, HELP_WIDTH = 100 };

static void print_indented(const char *lines)
{
    for (const char *at = lines; *at;) {
        size_t n = strcspn(at, "\n");
        (void)printf("  %.*s\n", (int)n, at);
        at += n + (at[n] == '\n');
    }
}

void cli_help_all(void)
{
    (void)puts("accllm: " CLI_SUMMARY "\n\nusage: accllm COMMAND [OPTIONS]\n");
    for (size_t i = 0; i < cli_command_count; i++)
        if (cli_commands[i].run) (void)printf("  %-11s %s\n", cli_commands[i].name, cli_commands[i].summary);
    (void)puts(
        "  help        show this text, or a command's with `accllm help COMMAND`; with --format man, bash, zsh or "
        "fish:\n"
        "              as a manual page, or what completes commands and options in that shell\n\n"
        "accllm COMMAND --help lists the options. Exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted.\n\n"
        "first steps:");
    print_indented(CLI_FIRST_STEPS);
}

/* A line of text in lines that fit, all but the first indented. */
static void print_wrapped(const char *text, size_t len, int indent)
{
    const size_t width = HELP_WIDTH - (size_t)indent;
    while (len > width) {
        size_t n = width;
        while (n > 0 && text[n] != ' ') n--;
        if (n == 0) break;
        (void)printf("%.*s\n%*s", (int)n, text, indent, "");
        text += n + 1;
        len -= n + 1;
    }
    (void)printf("%.*s\n", (int)len, text);
}

/* Paragraphs, one a line; a line that begins with a blank is a table's and stays whole. */
static void print_paragraphs(const char *text)
{
    for (size_t n; *text; text += n + (text[n] == '\n')) {
        n = strcspn(text, "\n");
        if (*text == ' ')
            (void)printf("%.*s\n", (int)n, text);
        else
            print_wrapped(text, n, 0);
    }
}

static void print_option(const cli_option *opt)
{
    char left[64], letter[8] = "    ";
    if (opt->letter) (void)snprintf(letter, sizeof letter, "-%c, ", opt->letter);
    int n = snprintf(left, sizeof left, "  %s--%s%s%s", letter, opt->name, opt->argument ? " " : "",
                     opt->argument ? opt->argument : "");
    if (n >= HELP_COLUMN - 1)
        (void)printf("%s\n%*s", left, HELP_COLUMN, "");
    else
        (void)printf("%-*s", HELP_COLUMN, left);
    print_wrapped(opt->help, strlen(opt->help), HELP_COLUMN);
}

void cli_help_command(const cli_command *c)
{
    (void)printf("accllm %s: %s\n\nusage: accllm %s %s [OPTIONS]\n", c->name, c->summary, c->name, c->arguments);
    if (c->details) {
        (void)putchar('\n');
        print_paragraphs(c->details);
    }
    (void)puts("\noptions (defaults in parentheses):");
    for (size_t i = 0; i < cli_option_count; i++)
        if (cli_command_takes(c, &cli_option_table[i])) print_option(&cli_option_table[i]);
    (void)puts("\nexamples:");
    print_indented(c->examples);
}

int cli_unknown_command(const char *name)
{
    const char *best = NULL;
    unsigned best_distance = 3;
    for (size_t i = 0; i < cli_command_count; i++) {
        unsigned d = cli_distance(cli_commands[i].name, name);
        if (cli_commands[i].run && d < best_distance) {
            best = cli_commands[i].name;
            best_distance = d;
        }
    }
    if (best)
        cli_error("unknown command %s; did you mean %s?", name, best);
    else
        cli_error("unknown command %s; see accllm help", name);
    return CLI_USAGE;
}
