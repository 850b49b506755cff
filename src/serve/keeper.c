#include "serve/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "accllm/state.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/runtime.h"
#include "serve/slot.h"

struct acc_keeper {
    acc_keeper_params p;
    char *folder;
    int lock_fd;
    pthread_t thread;
    bool has_thread, has_lock, has_cond;
    pthread_mutex_t lock; /* never held while the scheduler is called, which calls acc_keeper_wake() */
    pthread_cond_t cond;
    bool work, quit; /* under the lock */
};

static char *path_of(const acc_keeper *k, uint32_t session)
{
    char *path = NULL;
    return asprintf(&path, "%s/session-%04u.state", k->folder, session) < 0 ? NULL : path;
}

/* A copy of the slot's state, NULL: there is none to keep. *n its bytes. */
static uint8_t *copy_state(const acc_keeper *k, const acc_slot *slot, size_t *n)
{
    accllm_error err;
    uint64_t position = accllm_session_position(slot->session);
    if (position == 0 || position > ACC_HELD_IDS) return NULL; /* nobody can go on from it */
    size_t room = accllm_session_state_bytes(slot->session, (size_t)position);
    uint8_t *bytes = malloc(room);
    if (!bytes) {
        acc_log(k->p.rt, "a session was not saved: out of memory (%.1f MB)", (double)room / 1e6);
        return NULL;
    }
    if (accllm_session_save(slot->session, slot->held, (size_t)position, bytes, room, n, &err) == ACCLLM_OK)
        return bytes;
    acc_log(k->p.rt, "a session was not saved: %s", err.text);
    free(bytes);
    return NULL;
}

static void write_state(const acc_keeper *k, uint32_t session, const uint8_t *bytes, size_t n)
{
    acc_writer w = {0};
    accllm_error err = {0};
    char *path = path_of(k, session);
    accllm_status status =
        path ? acc_writer_open(&w, path, &err) : acc_fail(&err, ACCLLM_E_NOMEM, "out of memory: session's path");
    if (status == ACCLLM_OK && fchmod(fileno(w.f), 0600) != 0) { /* conversations are their owner's alone */
        status = acc_fail(&err, ACCLLM_E_IO, "%s: %s", w.tmp, strerror(errno));
        acc_writer_abort(&w);
    }
    if (status == ACCLLM_OK) {
        acc_writer_put(&w, bytes, n);
        status = acc_writer_commit(&w, &err);
    }
    if (status != ACCLLM_OK) acc_log(k->p.rt, "a session was not saved: %s", err.text);
    free(path);
}

/* Saves the changed session that was left longest ago. False: there was none. */
static bool save_next(const acc_keeper *k)
{
    uint32_t session;
    size_t n = 0;
    acc_slot *slot = acc_scheduler_lend_changed(k->p.scheduler, &session);
    if (!slot) return false;
    uint8_t *bytes = copy_state(k, slot, &n);
    acc_scheduler_give_back(k->p.scheduler, slot);
    if (bytes) write_state(k, session, bytes, n);
    free(bytes);
    return true;
}

/* Under the lock: until the end, or so many seconds. */
static void rest(acc_keeper *k)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += k->p.seconds;
    while (!k->quit && pthread_cond_timedwait(&k->cond, &k->lock, &until) != ETIMEDOUT) continue;
}

static void *keeper_main(void *arg)
{
    acc_keeper *k = arg;
    (void)pthread_mutex_lock(&k->lock);
    while (!k->quit) {
        if (!k->work) {
            (void)pthread_cond_wait(&k->cond, &k->lock);
            continue;
        }
        k->work = false;
        (void)pthread_mutex_unlock(&k->lock);
        bool saved = save_next(k);
        (void)pthread_mutex_lock(&k->lock);
        if (!saved) continue;
        k->work = true; /* there may be more */
        rest(k);
    }
    (void)pthread_mutex_unlock(&k->lock);
    return NULL;
}

void acc_keeper_wake(acc_keeper *k)
{
    (void)pthread_mutex_lock(&k->lock);
    k->work = true;
    (void)pthread_cond_signal(&k->cond);
    (void)pthread_mutex_unlock(&k->lock);
}

/* At the start, when no request is there yet. */
static accllm_status load_state(const acc_keeper *k, acc_slot *slot, const char *path, accllm_error *err)
{
    acc_file f;
    size_t n_ids;
    ACC_TRY(acc_file_open(&f, path, false, err));
    accllm_status status = accllm_session_load(slot->session, f.data, f.size, slot->held, ACC_HELD_IDS, &n_ids, err);
    acc_file_close(&f);
    if (status == ACCLLM_OK && n_ids != accllm_session_position(slot->session)) {
        accllm_session_reset(slot->session);
        status = acc_fail(err, ACCLLM_E_FORMAT, "the ids are not those that the session has read");
    }
    if (status != ACCLLM_OK) acc_log(k->p.rt, "%s is not used: %s", path, err->text);
    return status;
}

static accllm_status restore(acc_keeper *k, accllm_error *err)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < k->p.sessions; i++) {
        accllm_error refused;
        char *path = path_of(k, i);
        if (!path) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: session's path");
        acc_slot *slot = access(path, F_OK) == 0 ? acc_scheduler_lend(k->p.scheduler, i) : NULL;
        if (slot) {
            n += load_state(k, slot, path, &refused) == ACCLLM_OK;
            acc_scheduler_give_back(k->p.scheduler, slot);
        }
        free(path);
    }
    if (n > 0) acc_log(k->p.rt, "%s: the states of %u sessions were restored", k->folder, n);
    return ACCLLM_OK;
}

/* Saves an empty session to nowhere: whether there are states at all; and it reads the model's file for its hash now
 * and not after the first answer. */
static accllm_status try_states(acc_keeper *k, accllm_error *err)
{
    uint8_t room[512];
    size_t n;
    acc_slot *slot = acc_scheduler_lend(k->p.scheduler, 0);
    if (!slot) return acc_fail(err, ACCLLM_E_ARG, "the first session is in use");
    accllm_status status = accllm_session_save(slot->session, NULL, 0, room, sizeof room, &n, err);
    acc_scheduler_give_back(k->p.scheduler, slot);
    return status;
}

/* Two servers would write each other's files. The lock goes with the process. */
static accllm_status take_folder(acc_keeper *k, accllm_error *err)
{
    char *path = NULL;
    if (mkdir(k->folder, 0700) != 0 && errno != EEXIST)
        return acc_fail(err, ACCLLM_E_IO, "%s: cannot make the folder: %s", k->folder, strerror(errno));
    if (asprintf(&path, "%s/lock", k->folder) < 0) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: lock's path");
    k->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    free(path);
    if (k->lock_fd < 0) return acc_fail(err, ACCLLM_E_IO, "%s: cannot write there: %s", k->folder, strerror(errno));
    if (flock(k->lock_fd, LOCK_EX | LOCK_NB) == 0) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_IO, "%s: %s", k->folder,
                    errno == EWOULDBLOCK ? "another server uses this folder" : strerror(errno));
}

static bool make_cond(acc_keeper *k)
{
    pthread_condattr_t a;
    if (pthread_condattr_init(&a) != 0) return false;
    bool ok = pthread_condattr_setclock(&a, CLOCK_MONOTONIC) == 0 && pthread_cond_init(&k->cond, &a) == 0;
    (void)pthread_condattr_destroy(&a);
    return ok;
}

static accllm_status start(acc_keeper *k, accllm_error *err)
{
    k->folder = strdup(k->p.folder);
    if (!k->folder) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: folder's path");
    k->has_lock = pthread_mutex_init(&k->lock, NULL) == 0;
    k->has_cond = k->has_lock && make_cond(k);
    if (!k->has_cond) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: states");
    ACC_TRY(try_states(k, err));
    ACC_TRY(take_folder(k, err));
    ACC_TRY(restore(k, err));
    k->has_thread = pthread_create(&k->thread, NULL, keeper_main, k) == 0;
    return k->has_thread ? ACCLLM_OK : acc_fail(err, ACCLLM_E_NOMEM, "the thread that saves states was not started");
}

accllm_status acc_keeper_create(acc_keeper **out, const acc_keeper_params *p, accllm_error *err)
{
    *out = NULL;
    acc_keeper *k = acc_calloc(1, sizeof *k);
    if (!k) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: states");
    k->p = *p;
    k->lock_fd = -1;
    accllm_status status = start(k, err);
    if (status == ACCLLM_OK)
        *out = k;
    else
        acc_keeper_free(&k);
    return status;
}

static void end_thread(acc_keeper *k)
{
    if (!k->has_thread) return;
    (void)pthread_mutex_lock(&k->lock);
    k->quit = true;
    (void)pthread_cond_signal(&k->cond);
    (void)pthread_mutex_unlock(&k->lock);
    (void)pthread_join(k->thread, NULL);
    k->has_thread = false;
}

void acc_keeper_finish(acc_keeper *k)
{
    end_thread(k);
    while (save_next(k)) continue;
}

void acc_keeper_free(acc_keeper **k)
{
    if (!k || !*k) return;
    end_thread(*k);
    if ((*k)->has_cond) (void)pthread_cond_destroy(&(*k)->cond);
    if ((*k)->has_lock) (void)pthread_mutex_destroy(&(*k)->lock);
    if ((*k)->lock_fd >= 0) (void)close((*k)->lock_fd);
    free((*k)->folder);
    acc_free(*k);
    *k = NULL;
}
