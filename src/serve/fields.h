/*
 * Fields of a JSON object from a client, by type and range. An absent field and null leave *out as it was. False after
 * the problem was filled.
 */
#ifndef ACC_SERVE_FIELDS_H
#define ACC_SERVE_FIELDS_H

#include <stdint.h>

#include "serve/problem.h"

/* The field, NULL where it is absent or null. */
json_t *acc_field(const json_t *o, const char *key);
bool acc_field_bool(const json_t *o, const char *key, bool *out, acc_problem *p);
bool acc_field_int(const json_t *o, const char *key, int64_t min, int64_t max, int64_t *out, acc_problem *p);
bool acc_field_real(const json_t *o, const char *key, double min, double max, float *out, acc_problem *p);
/* *out: the object's own text. */
bool acc_field_text(const json_t *o, const char *key, const char **out, size_t *len, acc_problem *p);

#endif
