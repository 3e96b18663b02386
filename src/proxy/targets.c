/*
 * targets: a short array that is searched from its start. See the header.
 */
#include "proxy/targets.h"

#include <errno.h>
#include <stdlib.h>

static bool is_in_use(const struct target *t)
{
    return t->is_listed || t->count > 0;
}

static struct target *find(const struct targets *t, const struct addr *a)
{
    for (size_t i = 0; i < t->count; i++)
        if (is_in_use(&t->list[i]) && addr_equal(&t->list[i].addr, a))
            return &t->list[i];
    return NULL;
}

static struct target *add(struct targets *t, const struct addr *a)
{
    size_t i = 0;

    while (i < t->count && is_in_use(&t->list[i]))
        i++;
    if (i == t->count) {
        struct target *more = i < TARGETS_MAX ? realloc(t->list, (i + 1) * sizeof(*t->list)) : NULL;
        if (more == NULL)
            return NULL;
        t->list = more;
        t->count++;
    }
    t->list[i] = (struct target){.addr = *a};
    return &t->list[i];
}

static struct target *find_or_add(struct targets *t, const struct addr *a)
{
    struct target *found = find(t, a);

    return found != NULL ? found : add(t, a);
}

void targets_clear(struct targets *t)
{
    free(t->list);
    *t = (struct targets){0};
}

bool targets_set(struct targets *t, const struct addr *list, size_t count)
{
    bool has_all = true;

    for (size_t i = 0; i < t->count; i++)
        t->list[i].is_listed = false;
    for (size_t i = 0; i < count; i++) {
        struct target *one = find_or_add(t, &list[i]);
        has_all = has_all && one != NULL;
        if (one != NULL)
            one->is_listed = true;
    }
    return has_all;
}

bool targets_take(struct targets *t, const struct addr *a, uint16_t *number)
{
    struct target *one = find_or_add(t, a);

    if (one == NULL) {
        errno = ENOMEM;
        return false;
    }
    one->count++;
    *number = (uint16_t)(one - t->list);
    return true;
}

void targets_give_back(struct targets *t, uint16_t number)
{
    t->list[number].count--;
}

const struct addr *targets_address(const struct targets *t, uint16_t number)
{
    return &t->list[number].addr;
}

bool targets_have(const struct targets *t, const struct addr *a)
{
    return find(t, a) != NULL;
}
