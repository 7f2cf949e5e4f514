/* A simulated libnvidia-ml.so.1 for the real `pynvml` bindings: the functions the meter uses.
 *
 * Layouts are those that nvidia-ml-py 13.615 declares in pynvml.py. A symbol that is not here
 * is to the bindings a function that the driver does not have. -DWITHOUT_MEMORY_V2 is an old
 * driver.
 */
#include "figures.h"

#define OK 0
#define NOT_SUPPORTED 3
#define NOT_FOUND 6
#define INSUFFICIENT_SIZE 7

typedef struct {
    char bus_id_legacy[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} pci_t;

typedef struct {
    unsigned long long total, free, used;
} memory_t;

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} memory_v2_t;

typedef struct {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
} process_t;

static long number_of(void *handle) { return (long)(intptr_t)handle - 1; }

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    return planted_error("nvmlInitWithFlags");
}

int nvmlShutdown(void) { return OK; }

const char *nvmlErrorString(int error) {
    (void)error;
    return "a planted error";
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = (unsigned)figure_of("devices", 1);
    return planted_error("nvmlDeviceGetCount_v2");
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)(intptr_t)(index + 1);
    return planted_error("nvmlDeviceGetHandleByIndex_v2");
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned length) {
    snprintf(uuid, length, "%s", device_text(number_of(handle), "uuid", "GPU-aaaa"));
    return OK;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    for (long device = 0; device < 8; device++) {
        if (strcmp(uuid, device_text(device, "uuid", "")) == 0) {
            *handle = (void *)(intptr_t)(device + 1);
            return OK;
        }
    }
    return NOT_FOUND;
}

int nvmlDeviceGetPciInfo_v3(void *handle, pci_t *info) {
    memset(info, 0, sizeof *info);
    sscanf(device_text(number_of(handle), "bdf", "0000:c1:00"), "%x:%x:%x", &info->domain,
           &info->bus, &info->device);
    return OK;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *now, unsigned *pending) {
    uint64_t mode = device_figure(number_of(handle), "mig", 2);
    *now = *pending = (unsigned)mode;
    return mode == 2 ? NOT_SUPPORTED : OK;
}

int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    long device = number_of(handle);
    memory->total = device_figure(device, "total", 0);
    memory->used = device_figure(device, "used", 0) + device_figure(device, "reserved", 0);
    memory->free = memory->total - memory->used;
    return planted_error("nvmlDeviceGetMemoryInfo");
}

#ifndef WITHOUT_MEMORY_V2
int nvmlDeviceGetMemoryInfo_v2(void *handle, memory_v2_t *memory) {
    long device = number_of(handle);
    memory->total = device_figure(device, "total", 0);
    memory->reserved = device_figure(device, "reserved", 0);
    memory->used = device_figure(device, "used", 0);
    memory->free = memory->total - memory->reserved - memory->used;
    return planted_error("nvmlDeviceGetMemoryInfo_v2");
}
#endif

/* Processes of one list, told apart by their kind: 0 compute, 1 graphics. */
static int listed(void *handle, uint64_t kind, unsigned *count, process_t *list) {
    long device = number_of(handle);
    unsigned all = (unsigned)device_figure(device, "processes", 0), found = 0;
    for (unsigned i = 0; i < all; i++) {
        if (process_figure(device, i, "graphics", 0) != kind)
            continue;
        if (list && found < *count) {
            memset(&list[found], 0, sizeof list[found]);
            list[found].pid = (unsigned)process_figure(device, i, "pid", 0);
            list[found].used = process_figure(device, i, "used", (uint64_t)-1);
        }
        found++;
    }
    int is_short = found && (!list || found > *count);
    *count = found;
    return is_short ? INSUFFICIENT_SIZE : OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, process_t *list) {
    int error = planted_error("nvmlDeviceGetComputeRunningProcesses_v3");
    return error ? error : listed(handle, 0, count, list);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *count, process_t *list) {
    int error = planted_error("nvmlDeviceGetGraphicsRunningProcesses_v3");
    return error ? error : listed(handle, 1, count, list);
}
