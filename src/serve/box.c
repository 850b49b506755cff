/* Boxes of records and text; they hold what several steps of one slot give. */
#include <string.h>

#include "core/memory.h"
#include "serve/slot.h"

enum { BOX_TEXT = 4096 };

/* One step releases at most what was pending and one token's text. */
size_t acc_box_text_bytes(size_t longest)
{
    return BOX_TEXT + ACC_MAX_STOP_BYTES + 3 * longest + 32;
}

accllm_status acc_box_init(acc_box *b, size_t cap_text, accllm_error *err)
{
    void *text = NULL, *record = NULL;
    *b = (acc_box){.cap_text = cap_text};
    ACC_TRY(acc_alloc(&text, cap_text, 1, "text of a session", err));
    b->text = text;
    ACC_TRY(acc_alloc(&record, ACC_BOX_RECORDS, sizeof *b->record, "tokens of a session", err));
    b->record = record;
    return ACCLLM_OK;
}

void acc_box_free(acc_box *b)
{
    acc_free(b->text);
    acc_free(b->record);
    *b = (acc_box){0};
}

void acc_box_move(acc_box *to, acc_box *from)
{
    memcpy(to->text + to->n_text, from->text, from->n_text);
    memcpy(to->record + to->n_records, from->record, from->n_records * sizeof *to->record);
    for (size_t i = 0; i < from->n_records; i++) to->record[to->n_records + i].text_end += to->n_text;
    to->n_text += from->n_text;
    to->n_records += from->n_records;
    from->n_text = from->n_records = 0;
}
