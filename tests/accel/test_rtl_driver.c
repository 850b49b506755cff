/* The driver of the RTL on a stand-in for it: a run that was given up does not answer for the next one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "accel/rtl_device.h"

static void open_fake(acc_device *d, accllm_runtime **rt)
{
    accllm_error err;
    acc_image_header h = {.channels = 1, .n_vocab = 100};
    h.g.page = h.g.ring_pages = 1;
    h.region[ACC_REGION_LOGITS] = (acc_image_region){.lines = 1};
    assert_int_equal(accllm_runtime_create(rt, NULL, &err), ACCLLM_OK);
    if (acc_rtl_open(d, &h, *rt, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    d->h = h;
}

static void a_run_that_was_given_up_is_not_the_next_ones(void **state)
{
    (void)state;
    accllm_runtime *rt;
    accllm_error err;
    acc_device d;
    open_fake(&d, &rt);
    assert_int_equal(acc_device_run(&d, 5, 0, true, &err), ACCLLM_OK);
    assert_int_equal(d.ops->get(d.self, ACC_REG_BEST_TOKEN), 5);
    accllm_runtime_abort(rt);
    assert_int_equal(acc_device_run(&d, 6, 1, true, &err), ACCLLM_E_CANCELLED);
    accllm_runtime_clear_abort(rt);
    assert_int_equal(acc_device_run(&d, 7, 0, true, &err), ACCLLM_OK);
    assert_int_equal(d.ops->get(d.self, ACC_REG_BEST_TOKEN), 7);
    acc_device_close(&d);
    accllm_runtime_free(&rt);
}

/* Waiting for the end of such a run is as any waiting is. */
static void a_run_that_was_given_up_may_be_aborted_and_stand_still(void **state)
{
    (void)state;
    accllm_runtime *rt;
    accllm_error err;
    acc_device d;
    open_fake(&d, &rt);
    accllm_runtime_abort(rt);
    assert_int_equal(acc_device_run(&d, 99, 0, true, &err), ACCLLM_E_CANCELLED);
    assert_int_equal(acc_device_run(&d, 7, 0, true, &err), ACCLLM_E_CANCELLED);
    accllm_runtime_clear_abort(rt);
    assert_int_equal(acc_device_run(&d, 7, 0, true, &err), ACCLLM_E_IO);
    assert_non_null(strstr(err.text, "stands still"));
    acc_device_close(&d);
    accllm_runtime_free(&rt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_was_given_up_is_not_the_next_ones),
        cmocka_unit_test(a_run_that_was_given_up_may_be_aborted_and_stand_still),
    };
    return cmocka_run_group_tests_name("accel-rtl-driver", tests, NULL, NULL);
}
