/*
 * page: the table of the embedded files. See the header.
 */
#include "daemon/page.h"

#include "daemon/page_data.inc"

#include <string.h>

static const struct page pages[] = {
    {"/", "text/html; charset=utf-8", page_index_html, sizeof(page_index_html)},
    {"/app.css", "text/css; charset=utf-8", page_app_css, sizeof(page_app_css)},
    {"/app.js", "text/javascript; charset=utf-8", page_app_js, sizeof(page_app_js)},
    {"/icon.svg", "image/svg+xml", page_icon_svg, sizeof(page_icon_svg)},
};

const struct page *page_find(const char *path)
{
    for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++)
        if (strcmp(pages[i].path, path) == 0)
            return &pages[i];
    return NULL;
}
