/* For LD_PRELOAD: the n-th sync of a file below .../commitlog/ fails with EIO and syncs nothing; what others sync goes on.
 * Syncs of a mapping count as well.
 *
 *   FAIL_SYNC_AT       which one, from 1; unset or 0: none
 *   FAIL_SYNC_LASTING  set: all later ones, too
 *   FAIL_SYNC_MARK     a file that is made when it happens
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_long count;

static int is_log(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return strstr(path, "/commitlog/") != NULL;
}

static int is_mapped_log(const void *address) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4608];
    int found = 0;
    if (!maps) return 0;
    while (!found && fgets(line, sizeof line, maps)) {
        unsigned long begin, end;
        if (sscanf(line, "%lx-%lx", &begin, &end) == 2 && begin <= (unsigned long)address && (unsigned long)address < end)
            found = strstr(line, "/commitlog/") ? 1 : -1;
    }
    fclose(maps);
    return found > 0;
}

static int fails(int log) {
    const char *at = getenv("FAIL_SYNC_AT"), *mark = getenv("FAIL_SYNC_MARK");
    if (!at || !atol(at) || !log) return 0;
    long number = atomic_fetch_add(&count, 1) + 1;
    if (number != atol(at) && (number < atol(at) || !getenv("FAIL_SYNC_LASTING"))) return 0;
    if (mark) {
        int made = open(mark, O_CREAT | O_WRONLY, 0600);
        if (made >= 0) close(made);
    }
    errno = EIO;
    return 1;
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails(is_log(fd)) ? -1 : real(fd);
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails(is_log(fd)) ? -1 : real(fd);
}

int msync(void *address, size_t length, int flags) {
    int (*real)(void *, size_t, int) = (int (*)(void *, size_t, int))dlsym(RTLD_NEXT, "msync");
    return fails(is_mapped_log(address)) ? -1 : real(address, length, flags);
}
