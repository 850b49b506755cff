#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"

static accllm_status read_all(int fd, uint8_t *dst, size_t n, const char *path, accllm_error *err)
{
    while (n > 0) {
        ssize_t got = read(fd, dst, n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return acc_fail(err, ACCLLM_E_IO, "%s: cannot read: %s", path, strerror(errno));
        if (got == 0) return acc_fail(err, ACCLLM_E_IO, "%s: became shorter while being read", path);
        dst += got;
        n -= (size_t)got;
    }
    return ACCLLM_OK;
}

static accllm_status load(acc_file *f, int fd, bool use_mmap, const char *path, accllm_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return acc_fail(err, ACCLLM_E_IO, "%s: cannot stat: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode)) return acc_fail(err, ACCLLM_E_IO, "%s: not a regular file", path);
    if (st.st_size == 0) return ACCLLM_OK;
    f->size = (size_t)st.st_size;
    if (use_mmap) {
        void *p = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p != MAP_FAILED) {
            f->data = p;
            f->mapped = true;
            return ACCLLM_OK;
        }
    }
    void *p;
    ACC_TRY(acc_alloc(&p, f->size, 1, path, err));
    f->data = p;
    return read_all(fd, p, f->size, path, err);
}

accllm_status acc_file_open(acc_file *f, const char *path, bool use_mmap, accllm_error *err)
{
    *f = (acc_file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* O_NONBLOCK: do not hang on a FIFO */
    if (fd < 0) return acc_fail(err, ACCLLM_E_IO, "%s: cannot open: %s", path, strerror(errno));
    accllm_status s = load(f, fd, use_mmap, path, err);
    (void)close(fd);
    if (s != ACCLLM_OK) acc_file_close(f);
    return s;
}

void acc_file_forget(const acc_file *f, size_t at, size_t n)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), begin = at / page * page;
    if (f->mapped && n > 0 && at < f->size && n <= f->size - at)
        (void)madvise((uint8_t *)(uintptr_t)f->data + begin, at + n - begin, MADV_DONTNEED);
}

void acc_file_close(acc_file *f)
{
    if (f->data && f->mapped)
        (void)munmap((void *)(uintptr_t)f->data, f->size);
    else
        acc_free((void *)(uintptr_t)f->data);
    *f = (acc_file){0};
}

accllm_status acc_writer_open(acc_writer *w, const char *path, accllm_error *err)
{
    *w = (acc_writer){0};
    w->path = acc_strndup(path, PATH_MAX);
    if (asprintf(&w->tmp, "%s.part", path) < 0) w->tmp = NULL;
    if (!w->path || !w->tmp) {
        acc_writer_abort(w);
        return acc_fail(err, ACCLLM_E_NOMEM, "%s: out of memory", path);
    }
    w->f = fopen(w->tmp, "wbe");
    if (!w->f) {
        int e = errno;
        free(w->tmp); /* not ours: do not remove it */
        w->tmp = NULL;
        acc_writer_abort(w);
        return acc_fail(err, ACCLLM_E_IO, "%s: cannot write: %s", path, strerror(e));
    }
    return ACCLLM_OK;
}

void acc_writer_put(acc_writer *w, const void *data, size_t n)
{
    if (w->error || n == 0) return;
    errno = 0;
    if (fwrite(data, 1, n, w->f) != n) w->error = errno ? errno : EIO;
    w->offset += n;
}

void acc_writer_pad(acc_writer *w, size_t align)
{
    static const uint8_t zeros[64];
    size_t n = acc_round_up((size_t)w->offset, align) - (size_t)w->offset;
    for (; n > sizeof zeros; n -= sizeof zeros) acc_writer_put(w, zeros, sizeof zeros);
    acc_writer_put(w, zeros, n);
}

static void sync_folder_of(const char *path)
{
    char *copy = strdup(path);
    if (!copy) return;
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd); /* some file systems refuse to sync a folder; the rename itself is done */
        (void)close(fd);
    }
    free(copy);
}

accllm_status acc_writer_commit(acc_writer *w, accllm_error *err)
{
    if (!w->error && fflush(w->f) != 0) w->error = errno;
    if (!w->error && fsync(fileno(w->f)) != 0) w->error = errno;
    if (fclose(w->f) != 0 && !w->error) w->error = errno;
    w->f = NULL;
    if (!w->error && rename(w->tmp, w->path) != 0) w->error = errno;
    accllm_status s = ACCLLM_OK;
    if (w->error) {
        s = acc_fail(err, ACCLLM_E_IO, "%s: cannot write: %s", w->path, strerror(w->error));
    } else {
        sync_folder_of(w->path);
        free(w->tmp);
        w->tmp = NULL;
    }
    acc_writer_abort(w);
    return s;
}

void acc_writer_abort(acc_writer *w)
{
    if (w->f) (void)fclose(w->f);
    if (w->tmp) (void)unlink(w->tmp);
    free(w->tmp);
    free(w->path);
    *w = (acc_writer){0};
}
