/* The work folder: lock, configuration, removal. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compress/work.h"
#include "core/hash.h"
#include "core/memory.h"

#define MAX_CONFIG ((size_t)1 << 20)

static bool work_path(const acc_work *w, char out[PATH_MAX], const char *name)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", w->dir, name);
    return n > 0 && n < PATH_MAX;
}

static bool is_ours(const char *name)
{
    static const char *const begin[] = {"layer-", "tuned-", "mix.json", "recover.bin", "hidden.bin", "config.json"};
    for (size_t i = 0; i < sizeof begin / sizeof *begin; i++)
        if (strncmp(name, begin[i], strlen(begin[i])) == 0) return true;
    return false;
}

/* Removes our files from the folder, the lock excepted. Strange files stay, and then so does the folder. */
static void empty_folder(const acc_work *w)
{
    char path[PATH_MAX];
    DIR *dir = opendir(w->dir);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (is_ours(e->d_name) && work_path(w, path, e->d_name)) (void)unlink(path);
    (void)closedir(dir);
}

uint64_t acc_work_bytes(const acc_work *w)
{
    char path[PATH_MAX];
    struct stat st;
    uint64_t bytes = 0;
    DIR *dir = opendir(w->dir);
    if (!dir) return 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (is_ours(e->d_name) && work_path(w, path, e->d_name) && stat(path, &st) == 0) bytes += (uint64_t)st.st_size;
    (void)closedir(dir);
    return bytes;
}

void acc_work_close(acc_work *w, bool remove)
{
    if (w->dir && w->lock >= 0) {
        char path[PATH_MAX];
        if (remove) {
            empty_folder(w);
            if (work_path(w, path, "lock")) (void)unlink(path);
            (void)rmdir(w->dir);
        }
        (void)close(w->lock);
    }
    free(w->dir);
    *w = (acc_work){.lock = -1};
}

/* The holder of a lock may remove its folder just as we take it: then the file that we hold is no longer there. */
static bool still_there(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static accllm_status take_lock(acc_work *w, accllm_error *err)
{
    char path[PATH_MAX];
    if (strlen(w->dir) > PATH_MAX - 64 || !work_path(w, path, "lock"))
        return acc_fail(err, ACCLLM_E_ARG, "%s: the name is too long", w->dir);
    for (int attempt = 0; attempt < 10; attempt++) {
        if (mkdir(w->dir, 0777) != 0 && errno != EEXIST)
            return acc_fail(err, ACCLLM_E_IO, "%s: cannot create folder: %s", w->dir, strerror(errno));
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0) {
            if (errno == ENOENT) continue;
            return acc_fail(err, ACCLLM_E_IO, "%s: cannot write: %s", path, strerror(errno));
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            int e = errno;
            (void)close(fd);
            if (e == EWOULDBLOCK)
                return acc_fail(err, ACCLLM_E_LIMIT, "%s: another process is working on this output", w->dir);
            return acc_fail(err, ACCLLM_E_IO, "%s: cannot lock: %s", path, strerror(e));
        }
        if (still_there(fd, path)) {
            w->lock = fd;
            return ACCLLM_OK;
        }
        (void)close(fd);
    }
    return acc_fail(err, ACCLLM_E_IO, "%s: cannot lock", path);
}

/* A small file of text, whole or not at all. */
static accllm_status save_text(const acc_work *w, const char *name, const char *text, accllm_error *err)
{
    char path[PATH_MAX];
    acc_writer out;
    if (!work_path(w, path, name)) return acc_fail(err, ACCLLM_E_ARG, "%s: the name is too long", w->dir);
    ACC_TRY(acc_writer_open(&out, path, err));
    acc_writer_put(&out, text, strlen(text));
    return acc_writer_commit(&out, err);
}

/* A value as people read it: strings without quotes. */
static void show(const json_t *v, char *out, size_t cap)
{
    if (json_is_string(v))
        (void)snprintf(out, cap, "%s", json_string_value(v));
    else if (json_is_integer(v))
        (void)snprintf(out, cap, "%lld", (long long)json_integer_value(v));
    else
        (void)snprintf(out, cap, "nothing");
}

static accllm_status compare_config(const acc_work *w, const json_t *old, const json_t *now, accllm_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)now, key, value)
    {
        const json_t *other = json_object_get(old, key);
        char a[80], b[80];
        if (other && json_equal(other, value)) continue;
        show(other, a, sizeof a);
        show(value, b, sizeof b);
        return acc_fail(err, ACCLLM_E_ARG, "cannot resume %s: %s was %s, now %s", w->dir, key, a, b);
    }
    return ACCLLM_OK;
}

static accllm_status check_config(const acc_work *w, const json_t *config, bool *found, accllm_error *err)
{
    char path[PATH_MAX];
    acc_file f;
    *found = false;
    if (!work_path(w, path, "config.json") || access(path, F_OK) != 0) return ACCLLM_OK;
    ACC_TRY(acc_file_open(&f, path, false, err));
    json_t *old = f.size <= MAX_CONFIG ? json_loadb((const char *)f.data, f.size, 0, NULL) : NULL;
    acc_file_close(&f);
    if (!json_is_object(old)) {
        json_decref(old);
        return acc_fail(err, ACCLLM_E_FORMAT, "cannot resume %s: config.json is damaged", w->dir);
    }
    accllm_status s = compare_config(w, old, config, err);
    json_decref(old);
    *found = s == ACCLLM_OK;
    return s;
}

accllm_status acc_work_open(acc_work *w, const char *out_path, const json_t *config, bool resume, accllm_error *err)
{
    *w = (acc_work){.lock = -1};
    bool found = false;
    if (asprintf(&w->dir, "%s.work", out_path) < 0) w->dir = NULL;
    char *text = json_dumps(config, JSON_SORT_KEYS | JSON_INDENT(1));
    accllm_status s = w->dir && text ? take_lock(w, err) : acc_fail(err, ACCLLM_E_NOMEM, "out of memory: work folder");
    if (s == ACCLLM_OK && resume) s = check_config(w, config, &found, err);
    if (s == ACCLLM_OK && !found) {
        empty_folder(w);
        s = save_text(w, "config.json", text, err);
    }
    if (s == ACCLLM_OK) w->config_hash = acc_fnv1a(ACC_FNV_START, text, strlen(text));
    free(text);
    if (s != ACCLLM_OK) acc_work_close(w, false);
    return s;
}

accllm_status acc_work_save_mix(const acc_work *w, const uint8_t *option, uint32_t n, accllm_error *err)
{
    json_t *all = json_array();
    for (uint32_t i = 0; i < n; i++) (void)json_array_append_new(all, json_integer(option[i]));
    char *text = json_array_size(all) == n ? json_dumps(all, JSON_INDENT(0)) : NULL;
    json_decref(all);
    if (!text) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: formats");
    accllm_status s = save_text(w, "mix.json", text, err);
    free(text);
    return s;
}

bool acc_work_load_mix(const acc_work *w, uint8_t *option, uint32_t n, uint32_t n_options)
{
    char path[PATH_MAX];
    json_t *all = work_path(w, path, "mix.json") ? json_load_file(path, 0, NULL) : NULL;
    bool ok = json_array_size(all) == n;
    for (uint32_t i = 0; ok && i < n; i++) {
        const json_t *one = json_array_get(all, i);
        const json_int_t value = json_integer_value(one);
        ok = json_is_integer(one) && value >= 0 && value < (json_int_t)n_options;
        if (ok) option[i] = (uint8_t)value;
    }
    json_decref(all);
    return ok;
}
