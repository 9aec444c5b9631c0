/* For LD_PRELOAD: the n-th sync of a file below .../commitlog/ fails with EIO and syncs nothing; what others sync goes on.
 *
 *   FAIL_SYNC_AT    which one, from 1; unset or 0: none
 *   FAIL_SYNC_MARK  a file that is made when it happens
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static int fails(int fd) {
    const char *at = getenv("FAIL_SYNC_AT"), *mark = getenv("FAIL_SYNC_MARK");
    if (!at || !atol(at) || !is_log(fd) || atomic_fetch_add(&count, 1) + 1 != atol(at)) return 0;
    if (mark) {
        int made = open(mark, O_CREAT | O_WRONLY, 0600);
        if (made >= 0) close(made);
    }
    errno = EIO;
    return 1;
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails(fd) ? -1 : real(fd);
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails(fd) ? -1 : real(fd);
}
