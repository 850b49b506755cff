#include "interrupt.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include "notify.h"
#include "options.h"

/* A signal handler can only reach the process's own state. */
static _Atomic(accllm_runtime *) watched;
static _Atomic(accllm_server *) serving;
static atomic_int manager = -1; /* a socket of notify.h */
static volatile sig_atomic_t raised, soft_only, reading;

static void on_signal(int number)
{
    (void)number;
    accllm_server *server = atomic_load(&serving);
    if (server) {
        cli_notify(atomic_load(&manager), "STOPPING=1\nSTATUS=running answers end");
        accllm_server_stop(server);
        return;
    }
    if (raised && !reading) _exit(CLI_INTERRUPTED);
    raised = 1;
    if (reading) (void)alarm(1);
    accllm_runtime *rt = atomic_load(&watched);
    if (rt && !soft_only) accllm_runtime_abort(rt);
}

/* The signal may have come just before the read, which then still waits: wake it until it has returned. */
static void on_alarm(int number)
{
    (void)number;
    if (reading) (void)alarm(1);
}

static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction a = {.sa_handler = handler, .sa_flags = flags};
    (void)sigemptyset(&a.sa_mask);
    (void)sigaction(number, &a, NULL);
}

/* SA_RESTART, but for reading: a write that waits goes on after the signal, where stdio would fail and lose text. */
static void handle_signals(int flags)
{
    handle(SIGINT, on_signal, flags);
    handle(SIGTERM, on_signal, flags);
}

void cli_interrupt_watch(accllm_runtime *rt)
{
    atomic_store(&watched, rt);
    handle_signals(SA_RESTART);
    handle(SIGALRM, on_alarm, 0);
}

void cli_interrupt_serve(accllm_server *server, int notify_fd)
{
    atomic_store(&manager, notify_fd);
    atomic_store(&serving, server);
}

void cli_interrupt_ignore_pipe(void)
{
    handle(SIGPIPE, SIG_IGN, 0);
}

void cli_interrupt_unwatch(void)
{
    handle(SIGINT, SIG_DFL, 0);
    handle(SIGTERM, SIG_DFL, 0);
    handle(SIGALRM, SIG_DFL, 0);
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

void cli_interrupt_set_reading(bool on)
{
    reading = on;
    handle_signals(on ? 0 : SA_RESTART);
    if (!on) (void)alarm(0);
}
