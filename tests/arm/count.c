// A plugin of qemu's translator (API version 1): counts the instructions that a program of 64-bit ARM executes, in all and by
// kind. prctl(MARK, n) in the program writes what was counted since the last mark to stderr as one line, and starts at 0.
// Debian ships no header for plugins, so what is used of it is declared here.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define MARK 0x54415941 // "TAYA"
#define PRCTL 167

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int op, void *counter, uint64_t by);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                                                              uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
EXPORT int qemu_plugin_version = 1;

// An instruction is of a kind if it has these bits under this mask; some have two encodings: vector and by element.
static const struct {
    const char *name;
    uint32_t mask, bits;
} KINDS[] = {
    {"total", 0, 0},
    {"simd", 0x0e000000, 0x0e000000},
    {"memory", 0x0a000000, 0x08000000},
    {"sdot", 0xbfe0fc00, 0x0e809400},
    {"sdot", 0xbfc0f400, 0x0f80e000},
    {"udot", 0xbfe0fc00, 0x2e809400},
    {"udot", 0xbfc0f400, 0x2f80e000},
    {"usdot", 0xbfe0fc00, 0x0e809c00},
    {"usdot", 0xbfc0f400, 0x0f80f000},
    {"smmla", 0xffe0fc00, 0x4e80a400},
    {"ummla", 0xffe0fc00, 0x6e80a400},
    {"usmmla", 0xffe0fc00, 0x4e80ac00},
    {"fmla", 0xbfa0fc00, 0x0e20cc00},
    {"fmla", 0xbf80f400, 0x0f801000},
    {"sve", 0x1e000000, 0x04000000},
    {"sme", 0x9e000000, 0x80000000},
};
enum { COUNT = sizeof KINDS / sizeof KINDS[0] };
static uint64_t counted[COUNT], before[COUNT];

static void translated(plugin_id id, struct qemu_plugin_tb *block) {
    uint32_t here[COUNT] = {0}, word;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof word);
        for (int kind = 0; kind < COUNT; kind++) here[kind] += (word & KINDS[kind].mask) == KINDS[kind].bits;
    }
    for (int kind = 0; kind < COUNT; kind++)
        if (here[kind]) qemu_plugin_register_vcpu_tb_exec_inline(block, 0, &counted[kind], here[kind]);
    (void)id;
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                   uint64_t f, uint64_t g, uint64_t h) {
    if (number == PRCTL && (uint32_t)a == MARK) {
        fprintf(stderr, "counted %lu {", (unsigned long)b);
        for (int kind = 0; kind < COUNT; kind++) {
            uint64_t sum = counted[kind] - before[kind];
            while (kind + 1 < COUNT && !strcmp(KINDS[kind].name, KINDS[kind + 1].name)) kind++, sum += counted[kind] - before[kind];
            fprintf(stderr, "%s\"%s\": %llu", kind ? ", " : "", KINDS[kind].name, (unsigned long long)sum);
        }
        fputs("}\n", stderr);
        memcpy(before, counted, sizeof before);
    }
    (void)id, (void)cpu, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
}

EXPORT int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc, char **argv) {
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
