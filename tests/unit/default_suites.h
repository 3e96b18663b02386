/* default_suites: the names of those that are on unless the settings say otherwise, as a list. */
#ifndef DTLSGATE_TESTS_DEFAULT_SUITES_H
#define DTLSGATE_TESTS_DEFAULT_SUITES_H

#define DEFAULT_SUITES                                                                             \
    "ECDHE-PSK-CHACHA20-POLY1305", "PSK-AES128-GCM-SHA256", "PSK-AES256-GCM-SHA384",               \
        "PSK-CHACHA20-POLY1305", "PSK-AES128-CCM", "PSK-AES256-CCM", "PSK-AES128-CCM8",            \
        "PSK-AES256-CCM8"

#endif
