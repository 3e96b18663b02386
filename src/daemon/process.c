/*
 * process: /proc/self and the limits. See the header.
 */
#include "daemon/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void measure_memory(struct process_usage *usage)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), total, resident;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    char text[128] = "";

    if (fd < 0)
        return;
    if (read(fd, text, sizeof(text) - 1) > 0 &&
        sscanf(text, "%" SCNu64 " %" SCNu64, &total, &resident) == 2) {
        usage->virtual_bytes = total * page;
        usage->resident_bytes = resident * page;
    }
    close(fd);
}

static void count_descriptors(struct process_usage *usage)
{
    DIR *folder = opendir("/proc/self/fd");
    const struct dirent *entry;
    uint64_t count = 0;

    if (folder == NULL)
        return;
    while ((entry = readdir(folder)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(folder);
    usage->open_descriptors = count > 0 ? count - 1 : 0; /* not the one that looks */
}

void process_measure(struct process_usage *usage)
{
    struct rlimit limit;
    struct timespec cpu;

    *usage = (struct process_usage){0};
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0)
        usage->cpu_seconds = (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        usage->max_descriptors = limit.rlim_cur;
    measure_memory(usage);
    count_descriptors(usage);
}
