/* The web chat: files of src/serve/web, made part of the program by scripts/embed-page. */
#ifndef ACC_SERVE_PAGE_H
#define ACC_SERVE_PAGE_H

#include <stddef.h>

typedef struct acc_page_file {
    const char *path; /* "/" or "/web/NAME" */
    const char *type; /* of its content */
    const char *etag; /* made of its bytes, in quotation marks */
    const unsigned char *bytes;
    size_t n;
} acc_page_file;

extern const acc_page_file acc_page_files[];
extern const size_t acc_page_count;

#endif
