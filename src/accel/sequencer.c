#include "accel/sequencer.h"

/* What keeps the instruction at pc from being issued. */
static acc_isa_error refusal(const acc_sequencer *s)
{
    const char *why;
    if (s->pc >= s->limit) return ACC_ERROR_BAD_OPCODE;
    const acc_isa_error e = acc_inst_bad(&s->p[s->pc], &why);
    if (e != ACC_ERROR_NONE || s->loop == UINT32_MAX) return e;
    return acc_isa_layouts[acc_inst_opcode(&s->p[s->pc])].queue < 0 ? ACC_ERROR_BAD_FIELD : ACC_ERROR_NONE;
}

/* Fetches while the next instruction's queue has room: one that is full holds up all behind it. */
static void fetch(acc_sequencer *s)
{
    while (!s->ended) {
        s->error = refusal(s);
        if (s->error != ACC_ERROR_NONE) {
            s->ended = true;
            return;
        }
        const acc_inst *i = &s->p[s->pc];
        const unsigned op = acc_inst_opcode(i);
        if (op == ACC_OP_LOOP) {
            s->loop = s->pc++;
            s->round = 0;
            continue;
        }
        if (op == ACC_OP_END) {
            s->ended = !s->logits || acc_inst_get(i, ACC_F_WHEN) == ACC_WHEN_ALWAYS;
            s->pc++;
            continue;
        }
        const int q = acc_isa_layouts[op].queue;
        if (s->count[q] == ACC_ISA_QUEUE_DEPTH) return;
        const acc_inst *loop = s->loop == UINT32_MAX ? NULL : &s->p[s->loop];
        s->fifo[q][(s->first[q] + s->count[q]++) % ACC_ISA_QUEUE_DEPTH] =
            (acc_issue){loop ? acc_inst_at_round(i, loop, s->round) : *i, s->pc, s->round, s->fetched++};
        s->pc++;
        if (!loop || s->pc <= s->loop + acc_inst_get(loop, ACC_F_LENGTH)) continue;
        if (++s->round < acc_inst_get(loop, ACC_F_ROUNDS)) {
            s->pc = s->loop + 1;
        } else {
            s->loop = UINT32_MAX;
            s->round = 0;
        }
    }
}

acc_sequencer acc_sequencer_start(const acc_inst *p, uint32_t limit, bool logits)
{
    acc_sequencer s = {.p = p, .limit = limit, .logits = logits, .loop = UINT32_MAX};
    fetch(&s);
    return s;
}

const acc_issue *acc_sequencer_ready(acc_sequencer *s, int queue)
{
    const acc_issue *i = &s->fifo[queue][s->first[queue]];
    if (s->count[queue] == 0) return NULL;
    for (int from = 0; from < ACC_QUEUE_COUNT; from++)
        if (acc_inst_wait(&i->inst) >> from & 1 && s->level[from][queue] == 0) return NULL;
    return i;
}

bool acc_sequencer_retire(acc_sequencer *s, int queue)
{
    const acc_inst *i = &s->fifo[queue][s->first[queue]].inst;
    bool ok = true;
    for (int other = 0; other < ACC_QUEUE_COUNT; other++) {
        if (acc_inst_wait(i) >> other & 1) s->level[other][queue]--;
        if (acc_inst_signal(i) >> other & 1) ok &= ++s->level[queue][other] <= ACC_ISA_SEMAPHORE_MAX;
    }
    s->first[queue] = (s->first[queue] + 1) % ACC_ISA_QUEUE_DEPTH;
    s->count[queue]--;
    fetch(s);
    return ok;
}

bool acc_sequencer_done(const acc_sequencer *s)
{
    uint32_t waiting = 0;
    for (int q = 0; q < ACC_QUEUE_COUNT; q++) waiting += s->count[q];
    return s->ended && waiting == 0;
}

const acc_issue *acc_sequencer_oldest(const acc_sequencer *s)
{
    const acc_issue *oldest = NULL;
    for (int q = 0; q < ACC_QUEUE_COUNT; q++) {
        const acc_issue *i = &s->fifo[q][s->first[q]];
        if (s->count[q] == 0) continue;
        if (!oldest || i->number < oldest->number) oldest = i;
    }
    return oldest;
}
