/*
 * list: intrusive doubly linked list, oldest first; idle order and eviction live on it.
 */
#ifndef DTLSGATE_BASE_LIST_H
#define DTLSGATE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct list {
    struct list *next, *prev; /* of the head: first and last */
};

/* By way of an integer, so that a const node can become a pointer to const without a warning. */
#define list_entry(node, type, member) ((type *)((uintptr_t)(node)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

/* Takes the node out of its list; harmless on one that list_init() made and nobody inserted. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static inline void list_append(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* As the oldest. */
static inline void list_prepend(struct list *head, struct list *node)
{
    list_append(head->next, node);
}

static inline void list_move_to_end(struct list *head, struct list *node)
{
    list_remove(node);
    list_append(head, node);
}

/* The oldest, or NULL. */
static inline struct list *list_first(const struct list *head)
{
    return list_is_empty(head) ? NULL : head->next;
}

#endif
