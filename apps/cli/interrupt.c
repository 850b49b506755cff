#include "interrupt.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include "options.h"

/* A signal handler can only reach the process's own state. */
static _Atomic(accllm_runtime *) watched;
static volatile sig_atomic_t raised, soft_only;

static void on_signal(int number)
{
    (void)number;
    if (raised) _exit(CLI_INTERRUPTED);
    raised = 1;
    accllm_runtime *rt = atomic_load(&watched);
    if (rt && !soft_only) accllm_runtime_abort(rt);
}

void cli_interrupt_watch(accllm_runtime *rt)
{
    atomic_store(&watched, rt);
    struct sigaction a = {.sa_handler = on_signal};
    (void)sigemptyset(&a.sa_mask);
    (void)sigaction(SIGINT, &a, NULL); /* no SA_RESTART: a read from the terminal returns */
    (void)sigaction(SIGTERM, &a, NULL);
}

void cli_interrupt_ignore_pipe(void)
{
    struct sigaction a = {.sa_handler = SIG_IGN};
    (void)sigemptyset(&a.sa_mask);
    (void)sigaction(SIGPIPE, &a, NULL);
}

void cli_interrupt_unwatch(void)
{
    struct sigaction a = {.sa_handler = SIG_DFL};
    (void)sigemptyset(&a.sa_mask);
    (void)sigaction(SIGINT, &a, NULL);
    (void)sigaction(SIGTERM, &a, NULL);
    atomic_store(&watched, NULL);
}

bool cli_interrupted(void)
{
    return raised != 0;
}

void cli_interrupt_clear(void)
{
    raised = 0;
    accllm_runtime *rt = atomic_load(&watched);
    if (rt) accllm_runtime_clear_abort(rt);
}

void cli_interrupt_set_soft(bool soft)
{
    soft_only = soft;
}
