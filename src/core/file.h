/* Files: read-only views (mapped, or read into memory) and writes that appear whole or not at all. */
#ifndef ACC_CORE_FILE_H
#define ACC_CORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/status.h"

typedef struct acc_file {
    const uint8_t *data; /* NULL when size is 0 */
    size_t size;
    bool mapped;
} acc_file;

/* Opens path for reading. use_mmap false: the bytes are read into memory of our own. Directories, FIFOs and files that
 * shrink while being read are E_IO. The mapping is private and read-only. */
accllm_status acc_file_open(acc_file *f, const char *path, bool use_mmap, accllm_error *err) ACC_MUST_CHECK;
/* n bytes at `at` were read and are not needed soon: of a mapped file they leave the process's memory until the next
 * read. */
void acc_file_forget(const acc_file *f, size_t at, size_t n);
void acc_file_close(acc_file *f); /* safe on a zeroed struct, zeroes it */

/* A file that takes its name only when it is complete: writes go to "PATH.part" beside it, acc_writer_commit() syncs
 * and renames, acc_writer_abort() removes. The first write error (full disk) is kept and returned by commit. */
typedef struct acc_writer {
    FILE *f;
    char *path, *tmp;
    uint64_t offset;
    int error; /* errno of the first failure */
} acc_writer;

accllm_status acc_writer_open(acc_writer *w, const char *path, accllm_error *err) ACC_MUST_CHECK;
void acc_writer_put(acc_writer *w, const void *data, size_t n);
void acc_writer_pad(acc_writer *w, size_t align); /* zeros up to a multiple of align */
accllm_status acc_writer_commit(acc_writer *w, accllm_error *err) ACC_MUST_CHECK;
void acc_writer_abort(acc_writer *w); /* safe after commit and on a zeroed struct */

#endif
