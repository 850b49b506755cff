/* Progress of long work on standard error: one changing line on a terminal, a plain line per tenth elsewhere. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

/* fraction 0..1 of the whole work; seconds_left < 0: not known. detail may be NULL. */
void cli_progress_show(const char *stage, const char *detail, double fraction, double seconds_left);
/* Removes the changing line, if there is one, before other text is written. */
void cli_progress_clear(void);

#endif
