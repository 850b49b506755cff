/*
 * The keeper saves the states of sessions to a folder, in a thread of its own: after an answer, one at a time and no
 * more often than every so many seconds, and all that changed at the end. A state is copied in memory while its session
 * is free, and written from there; a file takes its name only when it is complete and on the disk.
 */
#ifndef ACC_SERVE_KEEPER_H
#define ACC_SERVE_KEEPER_H

#include "serve/scheduler.h"

typedef struct acc_keeper acc_keeper;

typedef struct acc_keeper_params {
    accllm_runtime *rt; /* its log hears of files that are refused or cannot be written */
    acc_scheduler *scheduler;
    const char *folder; /* made if it is missing, for its owner alone */
    uint32_t sessions, seconds;
} acc_keeper_params;

/* Restores what the folder has, and starts the thread. E_UNSUPPORTED: the sessions have no states; E_IO: the folder
 * cannot be used, or another server uses it. Files that are refused are left alone until their session is saved. */
accllm_status acc_keeper_create(acc_keeper **out, const acc_keeper_params *p, accllm_error *err) ACC_MUST_CHECK;
/* A session has changed. From any thread. */
void acc_keeper_wake(acc_keeper *k);
/* Ends the thread and saves what is left; to be called when no sequence has a slot any more. */
void acc_keeper_finish(acc_keeper *k);
/* Ends the thread if it runs, without saving more. */
void acc_keeper_free(acc_keeper **k);

#endif
