/*
 * psk_files: reads a file of keys, or a folder of them. See the header.
 * Must never look into what it has read.
 */
#include "dtls/psk_files.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TOTAL_MAX ((size_t)1 << 30)
#define WHY_SIZE 256

/* What has been read so far. */
struct texts {
    struct psk_text *one;
    size_t count, room;
    size_t bytes;
};

static void texts_clear(struct texts *t)
{
    for (size_t i = 0; i < t->count; i++) {
        file_free(t->one[i].data, t->one[i].len);
        free(t->one[i].name);
    }
    free(t->one);
}

static bool make_room(struct texts *t)
{
    size_t room = t->room > 0 ? 2 * t->room : 1;
    struct psk_text *more;

    if (t->count < t->room)
        return true;
    more = realloc(t->one, room * sizeof *more);
    if (more == NULL)
        return false;
    t->one = more;
    t->room = room;
    return true;
}

/* Takes over `path`. */
static void read_one(struct texts *t, char *path, struct errors *errors)
{
    struct psk_text text = {.name = path};
    char why[WHY_SIZE];

    if (!make_room(t)) {
        errors_add(errors, "%s: out of memory for its identities", path);
    } else if (!file_read(path, FILE_SECRET, TOTAL_MAX - t->bytes, &text.data, &text.len, why,
                          sizeof why)) {
        errors_add(errors, "%s: %s", path, why);
    } else {
        t->one[t->count++] = text;
        t->bytes += text.len;
        return;
    }
    free(path);
}

/* What editors and dpkg(1) leave behind, and what is hidden. */
static bool is_left_over(const char *name)
{
    const char *dot = strrchr(name, '.');

    return name[0] == '.' || name[strlen(name) - 1] == '~' ||
           (dot != NULL && (strcmp(dot, ".bak") == 0 || strncmp(dot, ".dpkg-", 6) == 0));
}

static int is_wanted(const struct dirent *entry)
{
    return !is_left_over(entry->d_name);
}

/* Not by the locale, as alphasort(3) would have it. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* A link counts as what it leads to. */
static bool is_regular(const char *path)
{
    struct stat st;

    return stat(path, &st) != 0 || S_ISREG(st.st_mode);
}

static void read_folder(struct texts *t, const char *folder, struct errors *errors)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_wanted, by_name);

    if (count < 0) {
        errors_add(errors, "%s: cannot be read: %s", folder, strerror(errno));
        return;
    }
    for (int i = 0; i < count; i++) {
        char *path;
        if (asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0)
            errors_add(errors, "%s: out of memory for its files", folder);
        else if (is_regular(path))
            read_one(t, path, errors);
        else
            free(path);
        free(entries[i]);
    }
    free(entries);
}

/* Whoever can put a file there could give themselves a key. */
static void read_path(struct texts *t, const char *path, struct errors *errors)
{
    struct stat st;
    char *copy;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        if (st.st_mode & S_IWOTH)
            errors_add(errors, "%s: is writable by others (mode %04o); chmod o-w it", path,
                       (unsigned)(st.st_mode & 07777));
        else
            read_folder(t, path, errors);
        return;
    }
    copy = strdup(path);
    if (copy == NULL)
        errors_add(errors, "%s: out of memory for its identities", path);
    else
        read_one(t, copy, errors);
}

struct psk_set *psk_load(const char *path, unsigned allow, struct errors *errors)
{
    unsigned before = errors->count;
    struct texts texts = {0};
    struct psk_set *set = NULL;

    read_path(&texts, path, errors);
    /* Of files that could be read all mistakes are told along with those of the others. */
    if (errors->count != before)
        allow |= PSK_ALLOW_EMPTY;
    set = psk_parse_all(path, texts.one, texts.count, allow, errors);
    texts_clear(&texts);
    if (errors->count == before)
        return set;
    psk_free(set);
    return NULL;
}
