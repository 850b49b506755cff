/* The report as one page that needs nothing else: figures, the loss of every layer and of the training as plots, all
 * tensors. Light or dark as the reader's system is. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compress/pipeline.h"

enum { WIDTH = 760, HEIGHT = 240, LEFT = 56, BOTTOM = 24, TOP = 12, MOST_SERIES = 7 };

static const char style[] =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;"
    "background:#fff}h1,h2{line-height:1.2}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "td,th{padding:.15rem .7rem;text-align:right;border-bottom:1px solid #8884}td:first-child,th:first-child"
    "{text-align:left}svg{max-width:100%;height:auto}svg text{font-size:11px;fill:currentColor}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}}";

static const char *const colours[MOST_SERIES] = {"#1f77b4", "#ff7f0e", "#2ca02c", "#d62728",
                                                 "#9467bd", "#8c564b", "#17becf"};

/* A file name or path may hold anything. */
static void put_text(FILE *f, const char *s)
{
    for (; s && *s; s++) {
        if (*s == '<' || *s == '>' || *s == '&')
            (void)fprintf(f, "&#%d;", *s);
        else
            (void)fputc(*s, f);
    }
}

static void put_row(FILE *f, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void put_row(FILE *f, const char *name, const char *fmt, ...)
{
    char value[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    (void)fprintf(f, "<tr><td>%s<td>", name);
    put_text(f, value);
    (void)fputs("\n", f);
}

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void put_layer_time(FILE *f, const json_t *seconds)
{
    double sum = 0, most = 0;
    const size_t n = json_array_size(seconds);
    for (size_t i = 0; i < n; i++) {
        const double s = json_number_value(json_array_get(seconds, i));
        sum += s;
        most = s > most ? s : most;
    }
    if (n) put_row(f, "time of a layer", "%.1f s on average, %.1f s at most", sum / (double)n, most);
}

static void put_figures(FILE *f, const json_t *o)
{
    (void)fputs("<table>\n", f);
    put_row(f, "source", "%s", text(o, "source"));
    put_row(f, "weights", "%s, method %s, embedding and head %s", text(o, "weights"), text(o, "method"),
            text(o, "head"));
    put_row(f, "bits per linear weight", "%.3f", number(o, "bits_per_weight"));
    put_row(f, "bits per weight over all", "%.3f", number(o, "bits_per_weight_total"));
    put_row(f, "file", "%.1f MB", number(o, "file_bytes") / 1e6);
    put_row(f, "calibration", "%.0f tokens (%s)", number(o, "calibration_tokens"), text(o, "calibration_text"));
    put_row(f, "time", "%.0f s", number(o, "seconds"));
    put_layer_time(f, json_object_get(o, "layer_seconds"));
    put_row(f, "peak memory", "%.0f MB", number(o, "peak_rss_bytes") / 1e6);
    (void)fputs("</table>\n", f);
}

/* ---- plots ---- */

typedef struct plot {
    FILE *f;
    double x_max, y_min, y_max;
} plot;

static double px(const plot *p, double x)
{
    return LEFT + (WIDTH - LEFT - 8) * (p->x_max > 0 ? x / p->x_max : 0);
}

static double py(const plot *p, double y)
{
    const double part = p->y_max > p->y_min ? (y - p->y_min) / (p->y_max - p->y_min) : 0.5;
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * part;
}

static void plot_begin(const plot *p, const char *x_name, double x_last)
{
    (void)fprintf(p->f, "<svg viewBox=\"0 0 %d %d\" role=\"img\"><g stroke=\"currentColor\" stroke-opacity=\".25\">",
                  WIDTH, HEIGHT);
    for (int i = 0; i <= 4; i++) {
        const double y = p->y_min + (p->y_max - p->y_min) * i / 4;
        (void)fprintf(p->f, "<path d=\"M%d %.1fH%d\"/>", LEFT, py(p, y), WIDTH - 8);
    }
    (void)fputs("</g>\n", p->f);
    for (int i = 0; i <= 4; i++) {
        const double y = p->y_min + (p->y_max - p->y_min) * i / 4;
        (void)fprintf(p->f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>", LEFT - 5, py(p, y) + 4, y);
    }
    (void)fprintf(p->f, "<text x=\"%d\" y=\"%d\">0</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s %.0f</text>\n",
                  LEFT, HEIGHT - 6, WIDTH - 8, HEIGHT - 6, x_name, x_last);
}

static void plot_line(const plot *p, const double *y, size_t n, const char *colour)
{
    (void)fprintf(p->f, "<polyline fill=\"none\" stroke-width=\"1.6\" stroke=\"%s\" points=\"", colour);
    for (size_t i = 0; i < n; i++)
        if (isfinite(y[i])) (void)fprintf(p->f, "%.1f,%.1f ", px(p, (double)i), py(p, y[i]));
    (void)fputs("\"/>\n", p->f);
}

static void plot_range(plot *p, const double *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(y[i])) continue;
        if (y[i] > p->y_max) p->y_max = y[i];
    }
}

/* Loss by layer, one line per matrix. */
static bool put_layers(FILE *f, const json_t *tensors)
{
    const size_t n = json_array_size(tensors) / ACC_N_LINEAR;
    double *y = calloc(n * ACC_N_LINEAR + 1, sizeof *y);
    if (!y) return false;
    plot p = {.f = f, .x_max = n > 1 ? (double)n - 1 : 1};
    bool any = false;
    for (size_t i = 0; i < n * ACC_N_LINEAR; i++) {
        const json_t *loss = json_object_get(json_array_get(tensors, i), "loss");
        y[i % ACC_N_LINEAR * n + i / ACC_N_LINEAR] = loss ? json_number_value(loss) : NAN;
        any |= loss != NULL;
    }
    if (any) {
        static const char *const names[ACC_N_LINEAR] = {"q", "k", "v", "output", "gate", "up", "down"};
        plot_range(&p, y, n * ACC_N_LINEAR);
        (void)fputs("<h2>Loss of each matrix by layer</h2><p>Squared error of its outputs on the calibration text over "
                    "their square, as the solver left it.</p>\n",
                    f);
        plot_begin(&p, "layer", (double)n - 1);
        for (int i = 0; i < ACC_N_LINEAR; i++) plot_line(&p, y + (size_t)i * n, n, colours[i]);
        (void)fputs("</svg><p>", f);
        for (int i = 0; i < ACC_N_LINEAR; i++) (void)fprintf(f, "<b style=\"color:%s\">%s</b> ", colours[i], names[i]);
        (void)fputs("</p>\n", f);
    }
    free(y);
    return true;
}

static void put_judgement(FILE *f, const char *name, const json_t *j)
{
    const double source = number(j, "source_perplexity"), now = number(j, "perplexity");
    (void)fprintf(f, "<tr><td>%s<td>%.4f<td>%.3f<td>%.3f<td>%.3f\n", name, number(j, "divergence"), now, source,
                  source > 0 ? now / source : 0);
}

static void put_held_out(FILE *f, const json_t *r)
{
    (void)fputs("<table><tr><th>held-out text<th>divergence<th>perplexity<th>source's<th>ratio\n", f);
    put_judgement(f, "before", json_object_get(r, "before"));
    put_judgement(f, "after", json_object_get(r, "after"));
    (void)fprintf(f, "</table><p>The lowest divergence stood at step %.0f of %.0f.</p>\n", number(r, "best_step"),
                  number(r, "steps"));
}

static bool put_recovery(FILE *f, const json_t *r)
{
    const json_t *course = json_object_get(r, "divergence");
    const size_t n = json_array_size(course);
    double *y = calloc(n + 1, sizeof *y);
    if (!y) return false;
    plot p = {.f = f, .x_max = n > 1 ? (double)n - 1 : 1};
    for (size_t i = 0; i < n; i++) y[i] = json_number_value(json_array_get(course, i));
    plot_range(&p, y, n);
    (void)fputs("<h2>Recovery</h2><p>Divergence from the source on the training text, nats per token.</p>\n", f);
    plot_begin(&p, "step", number(r, "steps"));
    plot_line(&p, y, n, colours[0]);
    (void)fputs("</svg>\n", f);
    if (json_object_get(r, "before")) put_held_out(f, r);
    free(y);
    return true;
}

static void put_tensors(FILE *f, const json_t *tensors)
{
    size_t i;
    const json_t *t;
    (void)fputs("<h2>Tensors</h2><table><tr><th>name<th>rows<th>columns<th>group<th>bit/weight<th>loss<th>rounding's "
                "loss\n",
                f);
    json_array_foreach((json_t *)(uintptr_t)tensors, i, t)
    {
        (void)fputs("<tr><td>", f);
        put_text(f, text(t, "name"));
        (void)fprintf(f, "<td>%.0f<td>%.0f<td>%.0f<td>%.3f", number(t, "rows"), number(t, "cols"), number(t, "group"),
                      number(t, "bits_per_weight"));
        static const char *const losses[] = {"loss", "loss_rtn"};
        for (int k = 0; k < 2; k++) {
            if (json_object_get(t, losses[k]))
                (void)fprintf(f, "<td>%.5f", number(t, losses[k]));
            else
                (void)fputs("<td>", f);
        }
        (void)fputs("\n", f);
    }
    (void)fputs("</table>\n", f);
}

char *acc_report_page(const json_t *report)
{
    char *page = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&page, &size);
    if (!f) return NULL;
    const json_t *tensors = json_object_get(report, "tensors"), *recovery = json_object_get(report, "recovery");
    (void)fprintf(f,
                  "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
                  "content=\"width=device-width\"><title>AccLLM report</title><style>%s</style>\n<h1>",
                  style);
    put_text(f, text(report, "output"));
    (void)fputs("</h1>\n", f);
    put_figures(f, report);
    bool whole = (!recovery || put_recovery(f, recovery)) && put_layers(f, tensors);
    put_tensors(f, tensors);
    whole &= !ferror(f);
    if (fclose(f) == 0 && whole) return page;
    free(page);
    return NULL;
}
