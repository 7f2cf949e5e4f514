/* Where a simulated driver has its figures from: a file of KEY=VALUE lines, read at each call.
 *
 * A test names the file in SIMULATED_DRIVER and may rewrite it while the meter runs. A key that
 * is not there has the caller's default.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char figure_text[256];

static const char *text_of(const char *key, const char *absent) {
    const char *path = getenv("SIMULATED_DRIVER");
    FILE *file = path ? fopen(path, "r") : NULL;
    size_t length = strlen(key);
    char line[512];
    const char *found = absent;

    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, length) == 0 && line[length] == '=') {
            line[strcspn(line, "\n")] = 0;
            snprintf(figure_text, sizeof figure_text, "%s", line + length + 1);
            found = figure_text;
            break;
        }
    }
    if (file)
        fclose(file);
    return found;
}

static uint64_t figure_of(const char *key, uint64_t absent) {
    const char *text = text_of(key, NULL);
    return text ? strtoull(text, NULL, 0) : absent;
}

/* The figure of one device, for example 0.used; and of one of its processes, 0.1.pid. */
static uint64_t device_figure(long device, const char *key, uint64_t absent) {
    char name[64];
    snprintf(name, sizeof name, "%ld.%s", device, key);
    return figure_of(name, absent);
}

static const char *device_text(long device, const char *key, const char *absent) {
    char name[64];
    snprintf(name, sizeof name, "%ld.%s", device, key);
    return text_of(name, absent);
}

static uint64_t process_figure(long device, unsigned process, const char *key, uint64_t absent) {
    char name[64];
    snprintf(name, sizeof name, "%ld.%u.%s", device, process, key);
    return figure_of(name, absent);
}

/* What a function returns before it does anything: its planted error, else 0. */
static int planted_error(const char *function) {
    char name[96];
    snprintf(name, sizeof name, "error.%s", function);
    return (int)figure_of(name, 0);
}
