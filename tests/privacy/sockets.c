// Preloaded: a process that asks for a socket to the network leaves a file behind, $SOCKETS.<pid>.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int socket(int domain, int type, int protocol) {
  int (*real)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
  if (domain == AF_INET || domain == AF_INET6) {
    char path[4096];
    snprintf(path, sizeof path, "%s.%d", getenv("SOCKETS"), getpid());
    FILE *file = fopen(path, "a");
    if (file) fclose(file);
  }
  return real(domain, type, protocol);
}
