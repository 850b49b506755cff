/* One line about where the training stands: rewritten every two seconds on a terminal, else one a minute. */
#include <math.h>
#include <stdio.h>

#include "core/clock.h"
#include "train.h"

static void show_time(double seconds)
{
    const unsigned long s = seconds > 0 && seconds < 1e9 ? (unsigned long)seconds : 0;
    if (s >= 3600)
        (void)fprintf(stderr, "%lu h %02lu min left", s / 3600, s / 60 % 60);
    else
        (void)fprintf(stderr, "%lu min %02lu s left", s / 60, s % 60);
}

void train_progress_step(train_progress *p, uint64_t step, double loss, double held_out)
{
    const double now = acc_seconds();
    const bool judged = held_out >= 0 && held_out != p->held_out;
    if (p->n_sum == 0 && p->began == 0) { /* the first step says nothing about speed */
        p->first_step = step;
        p->began = p->shown = now;
    }
    p->sum += loss;
    p->n_sum++;
    if (step != p->steps && !judged && now - p->shown < (p->terminal ? 2 : 60)) return;
    const double done = (double)(step - p->first_step), took = now - p->began;
    (void)fprintf(stderr, "%sstep %llu of %llu  loss %.4f", p->terminal ? "\r\x1b[K" : "", (unsigned long long)step,
                  (unsigned long long)p->steps, p->sum / p->n_sum);
    if (held_out >= 0)
        (void)fprintf(stderr, "  held-out %.4f (perplexity %.2f, %.4f nats per byte)", held_out, exp(held_out),
                      held_out / p->bytes_per_token);
    if (done > 0) {
        (void)fprintf(stderr, "  %.0f token/s  ", done * (double)p->tokens_per_step / took);
        show_time((double)(p->steps - step) * took / done);
    }
    if (!p->terminal || judged || step == p->steps) (void)fputc('\n', stderr);
    p->held_out = held_out;
    p->shown = now;
    p->sum = 0;
    p->n_sum = 0;
}
