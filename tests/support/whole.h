/* Reading a model whole, for tests of files that may be damaged. */
#ifndef ACC_TESTS_SUPPORT_WHOLE_H
#define ACC_TESTS_SUPPORT_WHOLE_H

#include "format/checkpoint.h"

/* Reads every row of every tensor that a small file's source has; the test fails where one is neither read nor refused
 * as not a number. */
void read_everything(const acc_source *s);

#endif
