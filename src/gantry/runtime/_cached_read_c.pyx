# cython: language_level=3
"""Reads of what the page cache holds, without a copy in between; `_cached_read_py.py` is the pure twin."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t

import errno
import os

cdef extern from *:
    """
    #include <errno.h>
    #include <sys/uio.h>
    /* As preadv2, but tells the error as a negative number. */
    static long long gantry_read_cached(int fd, char* to, size_t size, long long offset) {
    #ifdef RWF_NOWAIT
        struct iovec piece = {to, size};
        ssize_t done = preadv2(fd, &piece, 1, (off_t)offset, RWF_NOWAIT);
        return done < 0 ? -(long long)errno : (long long)done;
    #else
        (void)fd, (void)to, (void)size, (void)offset;
        return -EOPNOTSUPP;
    #endif
    }
    """
    long long gantry_read_cached(int fd, char* to, size_t size, long long offset) nogil

cdef int _EAGAIN = errno.EAGAIN


def read_cached(int fd, Py_ssize_t length, int64_t offset):
    """See the pure twin."""
    cdef bytes data = PyBytes_FromStringAndSize(NULL, length)
    cdef long long done
    # What is in memory is copied at once: giving up the interpreter meanwhile would cost more.
    done = gantry_read_cached(fd, PyBytes_AS_STRING(data), <size_t>length, offset)
    if done < 0:
        if done == -_EAGAIN:
            return None
        raise OSError(-done, os.strerror(-done))
    return data if done == length else None
