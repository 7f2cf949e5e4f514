/* A simulated libamd_smi.so for the real `amdsmi` bindings: the functions that the meter uses.
 *
 * Layouts are those that the bindings 7.0.2 declare in amdsmi_wrapper.py. Every other symbol
 * that the bindings look up is made by the test, as a weak function that returns
 * NOT_SUPPORTED. Variants: -DWITHOUT_PROCESS_LIST leaves a symbol out; -DOTHER_PROCESS_LAYOUT
 * fills a shorter process structure than the bindings read; -DLONGER_STRUCTURES fills longer ones
 * than they give it room for, as a library does that is newer than they are.
 */
#include "figures.h"

#define OK 0
#define INVALID 1
#define NO_SUCH_DEVICE 31

typedef struct {
    char name[256];
    uint32_t pid;
    uint32_t padding;
    uint64_t mem;
    uint64_t gfx, enc;
    uint32_t engine_reserved[12];
    uint64_t gtt_mem, cpu_mem, vram_mem;
    uint32_t memory_reserved[10];
#ifndef OTHER_PROCESS_LAYOUT
    char container_name[256];
    uint32_t cu_occupancy;
    uint32_t reserved[11];
#endif
} process_t;

typedef struct {
    uint32_t vram_total, vram_used, reserved[2];
} vram_usage_t;

typedef struct {
    uint32_t drm_render, drm_card, hsa_id, hip_id;
    char hip_uuid[256];
#ifdef LONGER_STRUCTURES
    char physical_acc_id[1 << 20];
#endif
} enumeration_t;

typedef struct {
    uint32_t major, minor, release;
    const char *build;
} version_t;

/* A handle is the device's number and one, so that it is never null. */
static long number_of(void *handle) { return (long)(intptr_t)handle - 1; }

int amdsmi_init(uint64_t flags) {
    (void)flags;
    return planted_error("amdsmi_init");
}

int amdsmi_shut_down(void) { return OK; }

int amdsmi_get_lib_version(version_t *version) {
    version->major = (uint32_t)figure_of("library", 26);
    version->build = "simulated";
    return planted_error("amdsmi_get_lib_version");
}

int amdsmi_get_socket_handles(uint32_t *count, void **sockets) {
    uint32_t devices = (uint32_t)figure_of("devices", 1);
    if (!sockets)
        *count = devices;
    for (uint32_t i = 0; sockets && i < *count; i++)
        sockets[i] = (void *)(intptr_t)(i + 1);
    return planted_error("amdsmi_get_socket_handles");
}

int amdsmi_get_processor_handles(void *socket, uint32_t *count, void **processors) {
    *count = 1;
    if (processors)
        processors[0] = socket;
    return planted_error("amdsmi_get_processor_handles");
}

int amdsmi_get_gpu_device_bdf(void *handle, uint64_t *bdf) {
    unsigned domain = 0, bus = 0, device = 0, function = 0;
    sscanf(device_text(number_of(handle), "bdf", "0000:c1:00.0"), "%x:%x:%x.%x", &domain, &bus,
           &device, &function);
    *bdf = (uint64_t)function | (uint64_t)device << 3 | (uint64_t)bus << 8 |
           (uint64_t)domain << 16;
    return planted_error("amdsmi_get_gpu_device_bdf");
}

int amdsmi_get_gpu_enumeration_info(void *handle, enumeration_t *info) {
    memset(info, 0, sizeof *info);
    info->hip_id = (uint32_t)device_figure(number_of(handle), "hip_id", 0xFFFFFFFFu);
    return planted_error("amdsmi_get_gpu_enumeration_info");
}

int amdsmi_get_gpu_memory_total(void *handle, uint32_t kind, uint64_t *total) {
    if (kind != 0)
        return INVALID;
    *total = device_figure(number_of(handle), "total", 0);
    return planted_error("amdsmi_get_gpu_memory_total");
}

int amdsmi_get_gpu_memory_usage(void *handle, uint32_t kind, uint64_t *used) {
    if (kind != 0)
        return INVALID;
    *used = device_figure(number_of(handle), "used", 0);
    return planted_error("amdsmi_get_gpu_memory_usage");
}

int amdsmi_get_gpu_vram_usage(void *handle, vram_usage_t *usage) {
    memset(usage, 0, sizeof *usage);
    usage->vram_total = (uint32_t)device_figure(number_of(handle), "total_mib", 0);
    usage->vram_used = (uint32_t)device_figure(number_of(handle), "used_mib", 0);
    return planted_error("amdsmi_get_gpu_vram_usage");
}

#ifndef WITHOUT_PROCESS_LIST
int amdsmi_get_gpu_process_list(void *handle, uint32_t *count, process_t *list) {
    long device = number_of(handle);
    uint32_t found = (uint32_t)device_figure(device, "processes", 0);
    for (uint32_t i = 0; i < found && i < *count; i++) {
        memset(&list[i], 0, sizeof list[i]);
        list[i].pid = (uint32_t)process_figure(device, i, "pid", 0);
        list[i].vram_mem = process_figure(device, i, "vram", 0);
        list[i].mem = process_figure(device, i, "mem", 0);
        snprintf(list[i].name, sizeof list[i].name, "/usr/bin/simulated");
    }
    *count = found;
    return planted_error("amdsmi_get_gpu_process_list");
}
#endif
