/* What the C programs of the benchmarks share. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void die(const char *what) {
    perror(what);
    exit(2);
}

static void put4(char *p, uint32_t v) {
    p[0] = (char)(v >> 24), p[1] = (char)(v >> 16), p[2] = (char)(v >> 8), p[3] = (char)v;
}
static uint32_t get4(const char *p) {
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}
