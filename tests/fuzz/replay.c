/*
 * replay: feeds every file of the folders given to a fuzzing harness, as `make check` does.
 * It must never know what is fuzzed. A finding aborts; what cannot be read is an error.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The block is of the file's exact size, so that a sanitizer sees a read past its end. */
static uint8_t *read_input(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = NULL;
    struct stat st;

    if (f == NULL)
        return NULL;
    if (fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode)) {
        *size = (size_t)st.st_size;
        data = malloc(*size > 0 ? *size : 1);
    }
    if (data != NULL && fread(data, 1, *size, f) != *size) {
        free(data);
        data = NULL;
    }
    fclose(f);
    return data;
}

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static bool replay_file(const char *folder, const char *name)
{
    char path[4096];
    uint8_t *data;
    size_t size;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    data = read_input(path, &size);
    if (data == NULL) {
        fprintf(stderr, "%s: cannot be read\n", path);
        return false;
    }
    printf("%s\n", path); /* the last one told is the one that aborted */
    fflush(stdout);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return true;
}

/* An empty folder is an error, too: a corpus that got lost would else pass. */
static bool replay_folder(const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_input, alphasort);
    bool good = count > 0;

    if (!good)
        fprintf(stderr, "%s: holds no inputs\n", folder);
    for (int i = 0; i < count; i++) {
        good = replay_file(folder, entries[i]->d_name) && good;
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return good;
}

int main(int argc, char **argv)
{
    bool good = argc > 1;

    if (!good)
        fprintf(stderr, "usage: %s FOLDER...\n", argv[0]);
    for (int i = 1; i < argc; i++)
        good = replay_folder(argv[i]) && good;
    return good ? 0 : 1;
}
