/* The accllm program: finds the command, parses its options, runs it. */
#include <stdio.h>
#include <string.h>

#include "accllm/accllm.h"
#include "commands.h"
#include "interrupt.h"
#include "report.h"

static int print_version(void)
{
    (void)printf("accllm %s\n", accllm_version());
    return cli_finish_output();
}

/* The command that argv names; *words: how many arguments that took. NULL after a message. */
static const cli_command *find_command(int argc, char **argv, int *words)
{
    const char *name = argv[0];
    char two[64];
    *words = 1;
    if (strcmp(name, "eval") == 0) {
        if (argc < 2 || argv[1][0] == '-') {
            cli_error("eval: needs ppl, kl, tasks or ladder, as in accllm eval ppl MODEL --text FILE");
            return NULL;
        }
        (void)snprintf(two, sizeof two, "eval %s", argv[1]);
        name = two;
        *words = 2;
    }
    const cli_command *c = cli_command_find(name);
    if (!c) {
        (void)cli_unknown_command(name);
    } else if (!c->run) {
        cli_error("%s: not available in this version", c->name);
        c = NULL;
    }
    return c;
}

/* accllm help --format FORMAT [COMMAND] */
static int formatted_help(const char *format, int argc, char **argv)
{
    const bool manual = strcmp(format, "man") == 0;
    if (manual && argc == 0) {
        cli_manual_main();
    } else if (manual) {
        int words;
        const cli_command *c = find_command(argc, argv, &words);
        if (!c) return CLI_USAGE;
        cli_manual_command(c);
    } else if (argc > 0 || !cli_completion(format)) {
        cli_error("help: --format is man, for all or one command, or bash, zsh, fish");
        return CLI_USAGE;
    }
    return cli_finish_output();
}

static int help(int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "--format") == 0)
        return formatted_help(argc > 1 ? argv[1] : "", argc > 2 ? argc - 2 : 0, argv + 2);
    if (argc == 0) {
        cli_help_all();
        return cli_finish_output();
    }
    int words;
    if (strcmp(argv[0], "eval") == 0 && (argc == 1 || argv[1][0] == '-')) {
        static const char *const which[] = {"eval ppl", "eval kl", "eval tasks", "eval ladder"};
        for (size_t i = 0; i < sizeof which / sizeof *which; i++) {
            if (i) (void)putchar('\n');
            cli_help_command(cli_command_find(which[i]));
        }
        return cli_finish_output();
    }
    const cli_command *c = find_command(argc, argv, &words);
    if (!c) return CLI_USAGE;
    cli_help_command(c);
    return cli_finish_output();
}

static int run_command(const cli_command *c, int argc, char **argv)
{
    cli_options o;
    cli_options_init(&o);
    int rc = cli_options_parse(&o, c->bit, c->name, argc, argv);
    if (rc != CLI_OK) return rc;
    if (o.help) {
        cli_help_command(c);
        return cli_finish_output();
    }
    if (o.version) return print_version();
    return c->run(&o);
}

int main(int argc, char **argv)
{
    cli_interrupt_ignore_pipe();
    if (argc < 2) {
        cli_error("needs a command; see accllm help");
        return CLI_USAGE;
    }
    const char *first = argv[1];
    if (strcmp(first, "--version") == 0 || strcmp(first, "version") == 0) return print_version();
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0) return help(0, argv);
    if (strcmp(first, "help") == 0) return help(argc - 2, argv + 2);
    if (strcmp(first, "eval") == 0 && argc == 3 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0))
        return help(1, argv + 1);
    if (first[0] == '-') {
        cli_error("unknown option %s; a command comes first, see accllm help", first);
        return CLI_USAGE;
    }
    int words;
    const cli_command *c = find_command(argc - 1, argv + 1, &words);
    return c ? run_command(c, argc - words, argv + words) : CLI_USAGE;
}
