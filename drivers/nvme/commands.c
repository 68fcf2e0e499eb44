/* Where the data of a command lies (4.3), and the I/O commands (chapter 6). */
#define _GNU_SOURCE
#include "inside.h"

/* The parts of memory that PRPs name (4.3), in order.  0 or a status. */
static uint16_t gather(struct nvme *nvme, struct command *command, uint64_t prp1, uint64_t prp2, uint32_t bytes,
                       bool to_host)
{
    uint32_t length = DMA_PAGE - prp1 % DMA_PAGE;
    uint64_t at = prp1, list = prp2;
    bool by_list;

    command->parts = 0;
    if (prp1 % 4)
        return INVALID_PRP_OFFSET;
    if (length > bytes)
        length = bytes;
    by_list = bytes - length > DMA_PAGE;
    if (by_list && list % 8)
        return INVALID_PRP_OFFSET;
    for (;;) {
        void *memory = dma_at(nvme->user, at, length, to_host);

        if (!memory) {
            nvme->count.dma_faults++;
            return DATA_TRANSFER_ERROR;
        }
        command->part[command->parts++] = (struct iovec){memory, length};
        bytes -= length;
        if (!bytes)
            return OK;
        if (!by_list) {
            at = prp2;
        } else {
            const uint64_t *entry = dma_at(nvme->user, list, 8, false);
            uint64_t next = entry ? __atomic_load_n(entry, __ATOMIC_RELAXED) : 0;

            if (entry && list % DMA_PAGE == DMA_PAGE - 8 && bytes > DMA_PAGE) { /* the last slot: where it goes on */
                if (next % DMA_PAGE)
                    return INVALID_PRP_OFFSET;
                list = next;
                entry = dma_at(nvme->user, list, 8, false);
                next = entry ? __atomic_load_n(entry, __ATOMIC_RELAXED) : 0;
            }
            if (!entry) {
                nvme->count.dma_faults++;
                return DATA_TRANSFER_ERROR;
            }
            list += 8;
            at = next;
        }
        if (at % DMA_PAGE)
            return INVALID_PRP_OFFSET;
        length = bytes < DMA_PAGE ? bytes : DMA_PAGE;
    }
}

uint16_t nvme_transfer(struct nvme *nvme, uint64_t prp1, uint64_t prp2, uint8_t *data, uint32_t bytes, bool to_host)
{
    struct command *command;
    uint16_t status = INTERNAL_ERROR;

    if (bytes > 1U << NVME_MDTS << 12)
        return INVALID_FIELD;
    lock(nvme);
    command = nvme->unused;
    dma_enter(nvme->user);
    if (command && bytes) {
        status = gather(nvme, command, prp1, prp2, bytes, to_host);
        for (unsigned i = 0; i < command->parts && !status; data += command->part[i++].iov_len)
            if (to_host)
                memcpy(command->part[i].iov_base, data, command->part[i].iov_len);
            else
                memcpy(data, command->part[i].iov_base, command->part[i].iov_len);
    }
    dma_leave(nvme->user);
    unlock(nvme);
    return status;
}

static bool in_range(const struct nvme *nvme, uint64_t lba, uint64_t blocks)
{
    return lba <= nvme->blocks && blocks <= nvme->blocks - lba;
}

/* Has the storage do it; the status, or STORAGE_IN_PROGRESS as a negative number. */
static int store(struct nvme *nvme, struct command *command, enum storage_operation what, uint64_t lba, uint64_t blocks,
                 bool through)
{
    int result = storage_start(nvme->storage, what, lba << nvme->shift, blocks << nvme->shift, command->part,
                               command->parts, through, (uint64_t)(command - nvme->command));

    if (result == STORAGE_IN_PROGRESS)
        return -STORAGE_IN_PROGRESS;
    if (!result)
        return OK;
    return what == STORAGE_READ ? UNRECOVERED_READ : what == STORAGE_FLUSH ? INTERNAL_ERROR : WRITE_FAULT;
}

/* 6.7: ranges to be deallocated; they read as zeroes. */
static int manage(struct nvme *nvme, struct command *command, const struct sqe *sqe)
{
    struct { uint32_t attributes, blocks; uint64_t lba; } range[256];
    uint32_t many = (sqe->dw10 & 0xff) + 1, bytes = many * 16;
    uint8_t *to = (uint8_t *)range;
    uint16_t status = gather(nvme, command, sqe->prp1, sqe->prp2, bytes, false);
    int result = OK;

    if (status)
        return status;
    for (unsigned i = 0; i < command->parts; to += command->part[i++].iov_len)
        memcpy(to, command->part[i].iov_base, command->part[i].iov_len);
    for (uint32_t i = 0; i < many; i++)
        if (!in_range(nvme, range[i].lba, range[i].blocks))
            return LBA_OUT_OF_RANGE | NVME_DNR;
    for (uint32_t i = 0; i < many && !result && sqe->dw11 >> 2 & 1; i++)
        if (range[i].blocks)
            result = store(nvme, command, STORAGE_ZERO, range[i].lba, range[i].blocks, false);
    return result;
}

/* An I/O command: its status, or negative while it is in progress. */
int nvme_execute(struct nvme *nvme, struct command *command, const struct sqe *sqe)
{
    uint64_t lba = sqe->dw10 | (uint64_t)sqe->dw11 << 32, blocks = (sqe->dw12 & 0xffff) + 1UL;
    bool through = (sqe->dw12 >> 30 & 1) || nvme->uncached;
    uint16_t status;

    switch (sqe->opcode) {
    case FLUSH: case WRITE: case READ: case WRITE_ZEROES: case DATASET_MANAGEMENT:
        break;
    default:
        return INVALID_OPCODE | NVME_DNR;
    }
    if (sqe->flags) /* PSDT: PRPs; FUSE: not fused; the rest is reserved */
        return INVALID_FIELD | NVME_DNR;
    if (sqe->nsid != 1 && !(sqe->opcode == FLUSH && sqe->nsid == 0xffffffff))
        return INVALID_NAMESPACE | NVME_DNR;
    if (sqe->opcode == FLUSH) {
        nvme->count.flushes++;
        return store(nvme, command, STORAGE_FLUSH, 0, 0, false);
    }
    if (sqe->opcode == DATASET_MANAGEMENT)
        return manage(nvme, command, sqe);
    command->lba = lba;
    if (sqe->opcode != WRITE_ZEROES && blocks << nvme->shift > 1UL << NVME_MDTS << 12)
        return INVALID_FIELD | NVME_DNR;
    if (!in_range(nvme, lba, blocks))
        return LBA_OUT_OF_RANGE | NVME_DNR;
    if (sqe->opcode == WRITE_ZEROES)
        return store(nvme, command, STORAGE_ZERO, lba, blocks, through);
    status = gather(nvme, command, sqe->prp1, sqe->prp2, (uint32_t)(blocks << nvme->shift), sqe->opcode == READ);
    if (status)
        return status == INVALID_PRP_OFFSET ? status | NVME_DNR : status;
    if (sqe->opcode == READ) {
        nvme->count.reads++;
        nvme->count.read_blocks += blocks;
        return store(nvme, command, STORAGE_READ, lba, blocks, through);
    }
    nvme->count.writes++;
    nvme->count.written_blocks += blocks;
    return store(nvme, command, STORAGE_WRITE, lba, blocks, through);
}
