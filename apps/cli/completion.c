/* Completion of commands, options and their values for three shells, made from the tables of commands and options. */
#include <stdio.h>
#include <string.h>

#include "commands.h"

/* What a shell offers for an option's value. */
typedef enum value_kind { NO_VALUE, ANY_VALUE, WORDS, FILES, FOLDERS } value_kind;

static value_kind kind_of(const cli_option *opt)
{
    static const char *const files[] = {"FILE", "MODEL", "SRC"};
    if (!opt->argument) return NO_VALUE;
    if (opt->choices) return WORDS;
    if (strcmp(opt->argument, "DIR") == 0) return FOLDERS;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strcmp(opt->argument, files[i]) == 0) return FILES;
    return ANY_VALUE;
}

/* The words of "a|b|c" with blanks between them. */
static void put_choices(const char *choices)
{
    for (; *choices; choices++) (void)putchar(*choices == '|' ? ' ' : *choices);
}

/* Text with a backslash before each of some characters, for single quotes: a ' ends and begins them anew. */
static void put_quoted(const char *text, const char *escaped)
{
    for (; *text; text++)
        if (*text == '\'') {
            (void)fputs("'\\''", stdout);
        } else {
            if (strchr(escaped, *text)) (void)putchar('\\');
            (void)putchar(*text);
        }
}

static bool is_eval(const cli_command *c)
{
    return strncmp(c->name, "eval ", 5) == 0;
}

/* The commands' first words, eval once; or the words behind eval. */
static void put_names(bool eval)
{
    for (size_t i = 0; i < cli_command_count; i++)
        if (cli_commands[i].run && is_eval(&cli_commands[i]) == eval)
            (void)printf("%s ", cli_commands[i].name + (eval ? 5 : 0));
    if (!eval) (void)fputs("eval ", stdout);
}

static void put_bash_option_names(const cli_command *c)
{
    for (size_t i = 0; i < cli_option_count; i++) {
        const cli_option *opt = &cli_option_table[i];
        if (!cli_command_takes(c, opt)) continue;
        (void)printf("--%s ", opt->name);
        if (opt->letter) (void)printf("-%c ", opt->letter);
    }
}

static void put_bash_value(const cli_option *opt)
{
    const value_kind kind = kind_of(opt);
    if (kind == NO_VALUE) return;
    (void)printf("        --%s", opt->name);
    if (opt->letter) (void)printf("|-%c", opt->letter);
    (void)fputs(kind == FILES     ? ") value=files"
                : kind == FOLDERS ? ") value=folders"
                                  : ") value=words words='",
                stdout);
    if (kind == WORDS) put_choices(opt->choices);
    (void)puts(kind == FILES || kind == FOLDERS ? " ;;" : "' ;;");
}

static void bash_completion(void)
{
    (void)fputs(
        "# What bash completes behind accllm; made by: accllm help --format bash\n"
        "_accllm()\n{\n"
        "    local cur=${COMP_WORDS[COMP_CWORD]} opt=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}\n"
        "    local options='' value='' words='' IFS=$' \\t\\n'\n"
        "    COMPREPLY=()\n"
        "    # --name=value comes as three words\n"
        "    if [[ $cur == '=' ]]; then cur=''; elif [[ $opt == '=' ]]; then opt=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
        "    if ((COMP_CWORD > 2)) && [[ $command == eval ]]; then command=\"eval ${COMP_WORDS[2]}\"; fi\n"
        "    if ((COMP_CWORD == 1)); then command=''; fi\n"
        "    case $command in\n"
        "    '') value=words words='",
        stdout);
    put_names(false);
    (void)fputs("help --help --version' ;;\n    eval) value=words words='", stdout);
    put_names(true);
    (void)fputs("--help' ;;\n    help) value=words words='", stdout);
    put_names(false);
    put_names(true);
    (void)fputs("--format'\n        if [[ $opt == --format ]]; then words='man bash zsh fish'; fi ;;\n", stdout);
    for (size_t i = 0; i < cli_command_count; i++) {
        const cli_command *c = &cli_commands[i];
        if (!c->run) continue;
        (void)printf("    '%s')\n        options='", c->name);
        put_bash_option_names(c);
        (void)fputs("'\n        case $opt in\n", stdout);
        for (size_t j = 0; j < cli_option_count; j++)
            if (cli_command_takes(c, &cli_option_table[j])) put_bash_value(&cli_option_table[j]);
        (void)fputs("        esac ;;\n", stdout);
    }
    (void)fputs("    esac\n"
                "    if [[ -z $value && $cur == -* ]]; then value=words words=$options; fi\n"
                "    if [[ $value == words ]]; then\n"
                "        compopt +o default 2>/dev/null # no files\n"
                "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                "    elif [[ $value == folders ]]; then\n"
                "        compopt -o filenames 2>/dev/null\n"
                "        IFS=$'\\n' COMPREPLY=($(compgen -d -- \"$cur\"))\n"
                "    fi # else bash offers files itself\n"
                "}\n"
                "complete -o default -F _accllm accllm\n",
                stdout);
}

static void put_zsh_option(const cli_option *opt)
{
    const value_kind kind = kind_of(opt);
    const char *again = opt->kind == CLI_TEXTS ? "*" : "", *takes = kind == NO_VALUE ? "" : "=";
    (void)fputs("            ", stdout);
    if (opt->letter)
        (void)printf("'%s(-%c --%s)'{-%c%s,--%s%s}'[", again, opt->letter, opt->name, opt->letter,
                     kind == NO_VALUE ? "" : "+", opt->name, takes);
    else
        (void)printf("'%s--%s%s[", again, opt->name, takes);
    put_quoted(opt->help, "[]\\");
    (void)putchar(']');
    if (kind != NO_VALUE) (void)printf(":%s:", opt->argument);
    if (kind == WORDS) {
        (void)putchar('(');
        put_choices(opt->choices);
        (void)putchar(')');
    }
    (void)fputs(kind == FILES ? "_files" : kind == FOLDERS ? "_files -/" : kind == ANY_VALUE ? " " : "", stdout);
    (void)puts("' \\");
}

/* 'name:what it does' of every command, or of every measure behind eval. */
static void put_zsh_names(bool eval)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        const cli_command *c = &cli_commands[i];
        if (!c->run || is_eval(c) != eval) continue;
        (void)printf(" '%s:", c->name + (eval ? 5 : 0));
        put_quoted(c->summary, ":\\");
        (void)putchar('\'');
    }
}

static void zsh_completion(void)
{
    (void)fputs("#compdef accllm\n# What zsh completes behind accllm; made by: accllm help --format zsh\n"
                "_accllm()\n{\n"
                "    local command=$words[2]\n"
                "    local -a commands measures\n"
                "    commands=(",
                stdout);
    put_zsh_names(false);
    (void)fputs(" 'eval:measure a model' 'help:show help')\n    measures=(", stdout);
    put_zsh_names(true);
    (void)fputs(")\n"
                "    if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
                "    if [[ $command == eval ]]; then\n"
                "        if (( CURRENT == 3 )); then _describe measure measures; return; fi\n"
                "        command=\"eval $words[3]\"\n"
                "        shift words; (( CURRENT-- ))\n"
                "    fi\n"
                "    shift words; (( CURRENT-- ))\n"
                "    case $command in\n"
                "    help)\n"
                "        if (( CURRENT == 2 )); then _describe command commands; fi\n"
                "        _arguments '--format[as a manual page, or for a shell]:FORMAT:(man bash zsh fish)' ;;\n",
                stdout);
    for (size_t i = 0; i < cli_command_count; i++) {
        const cli_command *c = &cli_commands[i];
        if (!c->run) continue;
        (void)printf("    '%s')\n        _arguments -s \\\n", c->name);
        for (size_t j = 0; j < cli_option_count; j++)
            if (cli_command_takes(c, &cli_option_table[j])) put_zsh_option(&cli_option_table[j]);
        (void)puts("            '*:file:_files' ;;");
    }
    (void)fputs("    esac\n}\n"
                "# as a file of $fpath it is the function's first call; read by source it registers itself\n"
                "if [[ $funcstack[1] == _accllm ]]; then _accllm \"$@\"; else compdef _accllm accllm; fi\n",
                stdout);
}

static void put_fish_option(const cli_command *c, const cli_option *opt)
{
    const value_kind kind = kind_of(opt);
    (void)printf("complete -c accllm -n '__accllm_at %s' -l %s", c->name, opt->name);
    if (opt->letter) (void)printf(" -s %c", opt->letter);
    if (kind == FILES) (void)fputs(" -r -F", stdout);
    if (kind == FOLDERS) (void)fputs(" -x -a '(__fish_complete_directories)'", stdout);
    if (kind == ANY_VALUE) (void)fputs(" -x", stdout);
    if (kind == WORDS) {
        (void)fputs(" -x -a '", stdout);
        put_choices(opt->choices);
        (void)putchar('\'');
    }
    (void)fputs(" -d '", stdout);
    /* within fish's single quotes a ' is escaped */
    for (const char *at = opt->help; *at; at++) {
        if (*at == '\'' || *at == '\\') (void)putchar('\\');
        (void)putchar(*at);
    }
    (void)puts("'");
}

static void fish_completion(void)
{
    (void)fputs(
        "# What fish completes behind accllm; made by: accllm help --format fish\n"
        "function __accllm_at # whether these words stand before the one that is typed\n"
        "    set -l words (commandline -opc)\n"
        "    set -l last (math (count $argv) + 1)\n"
        "    test (count $words) -ge $last; and test \"$words[2..$last]\" = \"$argv\"\n"
        "end\n"
        "complete -c accllm -f\n"
        "complete -c accllm -n 'test (count (commandline -opc)) = 1' -l help -d 'show all commands'\n"
        "complete -c accllm -n 'test (count (commandline -opc)) = 1' -l version -d 'show the version'\n"
        "complete -c accllm -n 'test (count (commandline -opc)) = 1' -a eval -d 'measure a model'\n"
        "complete -c accllm -n 'test (count (commandline -opc)) = 1' -a help -d 'show help'\n"
        "complete -c accllm -n '__accllm_at help' -l format -x -a 'man bash zsh fish' -d 'for a shell, or man'\n"
        "complete -c accllm -n '__accllm_at help' -a '",
        stdout);
    put_names(false);
    (void)puts("'");
    for (size_t i = 0; i < cli_command_count; i++) {
        const cli_command *c = &cli_commands[i];
        if (!c->run) continue;
        if (is_eval(c))
            (void)printf("complete -c accllm -n '__accllm_at eval; and test (count (commandline -opc)) = 2' -a %s -d '",
                         c->name + 5);
        else
            (void)printf("complete -c accllm -n 'test (count (commandline -opc)) = 1' -a %s -d '", c->name);
        put_quoted(c->summary, "");
        (void)printf("'\ncomplete -c accllm -n '__accllm_at %s' -F\n", c->name);
        for (size_t j = 0; j < cli_option_count; j++)
            if (cli_command_takes(c, &cli_option_table[j])) put_fish_option(c, &cli_option_table[j]);
    }
}

bool cli_completion(const char *shell)
{
    if (strcmp(shell, "bash") == 0)
        bash_completion();
    else if (strcmp(shell, "zsh") == 0)
        zsh_completion();
    else if (strcmp(shell, "fish") == 0)
        fish_completion();
    else
        return false;
    return true;
}
