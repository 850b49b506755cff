/* What the fuzz targets share. A property that does not hold ends the program, which libFuzzer reports. */
#ifndef ACC_TESTS_FUZZ_FUZZ_H
#define ACC_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MUST(x)                                                                \
    do {                                                                       \
        if (x) break;                                                          \
        fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #x); \
        abort();                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
