/*
 * The part of the hypervisor that has to be C: entering the guest, and turning what KVM reports into one of five traps.
 *
 * A program's registers are held in normal form in `regs` whenever run() is not on the stack: rip, rsp and rflags are
 * the program's own, wherever the vCPU really stands (in the program, behind the gate's `out`, in an exception stub).
 * `where` says which, and resume() turns the normal form back into what the vCPU needs.
 *
 * RIP at an `out` exit: some KVMs have moved it behind the instruction, others do that at the next KVM_RUN unless the
 * host has changed RIP in between.  So every resume from an `out` sets RIP to an address that is not the `out`'s.
 */
#include <asm/prctl.h>
#include <errno.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { TRAP_SYSCALL = 1, TRAP_FAULT = 2, TRAP_PREEMPTED = 3, TRAP_MMIO = 4, TRAP_CRASHED = 5 };

/* Where the vCPU stands between two runs. */
enum {
    IN_PROGRAM,     /* at CPL 3: its registers are the program's */
    INTERRUPTED,    /* the same, and KVM holds them already (perhaps with an event of its own): leave them if unchanged */
    IN_RING0,       /* behind an `out` of ours at CPL 0: leave through sysretq or iretq */
    IN_MMIO         /* KVM finishes the program's instruction at the next KVM_RUN */
};

enum { VECTOR_DF = 8, VECTOR_GP = 13, VECTOR_PF = 14 };

/* CF PF AF ZF SF DF OF AC ID are the program's; IF and bit 1 are always set; TF NT IOPL RF VM never. */
#define FLAGS_OF_PROGRAM 0x240cd5ull
#define FLAGS_FORCED 0x202ull

/* Vectors whose exception pushes an error code (SDM vol. 3, table 6-1; 21, 29, 30: APM vol. 2, 8.2). */
#define HAS_ERROR_CODE ((1u << 8) | (1u << 10) | (1u << 11) | (1u << 12) | (1u << 13) | (1u << 14) | (1u << 17) | \
                        (1u << 21) | (1u << 29) | (1u << 30))

/* What hv/gate.py laid out; guest-virtual addresses. */
struct aero_gate {
    uint64_t user_end;       /* programs live below this address */
    uint64_t gate;           /* LSTAR: out GATE_PORT, al; sysretq */
    uint64_t sysret;         /* the gate's sysretq */
    uint64_t stubs;          /* the page of exception stubs */
    uint64_t iret;           /* an iretq in it */
    uint16_t gate_port;
    uint16_t stub_port;      /* port of vector 0's stub */
    int lstar_cpl;           /* 0, or 3 where KVM enters LSTAR without leaving ring 3 */
};

struct aero_vcpu {
    struct kvm_regs regs;    /* the program's, in normal form */
    uint64_t vector, error_code, fault_address;
    uint64_t mmio_address, mmio_data;
    uint32_t mmio_length, mmio_is_write;
    uint16_t ds, es, fs, gs; /* the program's selectors, where KVM leaves them to the host thread (see below) */
    char crash_reason[192];

    int fd;
    int sync;                /* KVM_CAP_SYNC_REGS covers the general registers */
    struct kvm_run *run;
    size_t run_size;
    struct aero_gate gate;
    uint64_t *stack_top;     /* host's view of the end of this vCPU's ring-0 stack */
    uint64_t iret_frame;     /* guest-virtual: five quadwords below the stack's top */
    int where;
    struct kvm_regs left;    /* INTERRUPTED: what KVM holds */
    int thread;              /* host thread inside run(), or 0 */
    int kicked;              /* the next KVM_RUN is to return at once */

    /* Benchmark (aero_replay): how often the guest is not entered but taken to have made the same exit again. */
    uint64_t replays;
    uint64_t last_number;
    struct kvm_regs replayed;
};

/* How long the big lock was held (hv/lock.py), in nanoseconds.  A hold ends where a core enters its guest, and begins
 * where it leaves it, or, if somebody else had the lock then, where that hold ended. */
struct aero_hold {
    uint64_t count, total, longest;
    uint64_t released;       /* when the last one ended, of CLOCK_MONOTONIC */
    int64_t cores_out;       /* cores that are neither in their guest nor at rest: they have the lock or want it */
};

static __thread struct aero_hold *core_hold; /* of the machine whose core this host thread is */
static __thread uint64_t hold_began;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void aero_hold_begins(void) { hold_began = now_ns(); }

static void aero_hold_ends(struct aero_hold *h)
{
    uint64_t now = now_ns(), released = __atomic_exchange_n(&h->released, now, __ATOMIC_RELAXED);
    uint64_t began = hold_began > released ? hold_began : released;
    uint64_t held = now > began ? now - began : 0, longest = __atomic_load_n(&h->longest, __ATOMIC_RELAXED);
    __atomic_fetch_add(&h->count, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&h->total, held, __ATOMIC_RELAXED);
    while (held > longest && !__atomic_compare_exchange_n(&h->longest, &longest, held, 0, __ATOMIC_RELAXED,
                                                          __ATOMIC_RELAXED)) { }
}

/* More or fewer cores have the lock or want it.  Counted here, since who comes out of the guest may have to wait for
 * the interpreter before it can as much as ask for the lock. */
static void aero_cores_out(struct aero_hold *h, int64_t more)
{
    __atomic_fetch_add(&h->cores_out, more, __ATOMIC_RELAXED);
}

/* From now on the holds of this host thread are those of a core: run() ends them, and begins the next.  NULL: no more. */
static void aero_hold_by_core(struct aero_hold *h)
{
    if (core_hold) aero_cores_out(core_hold, -1);
    core_hold = h;
    if (core_hold) aero_cores_out(core_hold, 1);
}

static __thread struct aero_vcpu *running;
static __thread volatile sig_atomic_t slice_over;
static __thread int thread_id;
static __thread timer_t slice_timer;
static __thread int has_slice_timer;

#define KICK_SIGNAL (SIGRTMIN + 6)

/* A tick that finds no vCPU on its thread is remembered; a kick marked its vCPU before it sent the signal. */
static void on_kick(int signal, siginfo_t *info, void *context)
{
    (void)signal; (void)context;
    struct aero_vcpu *v = running;
    if (info->si_code != SI_TIMER) return;
    if (!v) { slice_over = 1; return; }
    __atomic_store_n(&v->kicked, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

static int aero_install_kick_signal(void)
{
    /* No SA_RESTART: KVM_RUN has to return.  Python retries its own system calls (PEP 475). */
    struct sigaction action = { .sa_sigaction = on_kick, .sa_flags = SA_SIGINFO };
    sigemptyset(&action.sa_mask);
    return sigaction(KICK_SIGNAL, &action, NULL) ? -errno : 0;
}

/* Writes to each page without changing it, also while others write there. */
static void aero_touch(void *address, size_t length)
{
    for (size_t at = 0; at < length; at += 4096) __atomic_fetch_or((char *)address + at, 0, __ATOMIC_RELAXED);
}

static int aero_ioctl(int fd, unsigned long request, void *argument)
{
    int result;
    do result = ioctl(fd, request, argument); while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

static int aero_ioctl_value(int fd, unsigned long request, unsigned long value)
{
    return aero_ioctl(fd, request, (void *)value);
}

static int aero_open(struct aero_vcpu *v, int fd, size_t run_size, int sync, const struct aero_gate *gate,
                     void *stack_top, uint64_t stack_top_guest)
{
    memset(v, 0, sizeof *v);
    v->fd = fd;
    v->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (v->run == MAP_FAILED) { v->run = NULL; return -errno; }
    v->run_size = run_size;
    v->sync = sync;
    v->gate = *gate;
    v->stack_top = stack_top;
    v->iret_frame = stack_top_guest - 40;
    if (sync) v->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
    return 0;
}

static void aero_close(struct aero_vcpu *v)
{
    if (v->run) munmap(v->run, v->run_size);
    if (v->fd >= 0) close(v->fd);
    v->run = NULL;
    v->fd = -1;
}

static int crashed(struct aero_vcpu *v, const char *format, uint64_t a, uint64_t b)
{
    snprintf(v->crash_reason, sizeof v->crash_reason, format, (unsigned long long)a, (unsigned long long)b);
    return TRAP_CRASHED;
}

static int faulted(struct aero_vcpu *v, unsigned vector, uint64_t error_code)
{
    v->vector = vector;
    v->error_code = error_code;
    return TRAP_FAULT;
}

static uint64_t program_flags(uint64_t flags) { return (flags & FLAGS_OF_PROGRAM) | FLAGS_FORCED; }

/* In KVM_RUN's place while a benchmark takes the time of everything else. */
static int replay(struct aero_vcpu *v)
{
    v->run->s.regs.regs = v->replayed;
    if (--v->replays == 0) v->run->s.regs.regs.rax = v->last_number;
    return 0;
}

/*
 * Where ring 3 of the guest is ring 3 of the host (LSTAR at CPL 3), KVM does not switch the data segment registers: a
 * program finds in ds, es, fs and gs what the last one on this host thread left there.  So they are switched here.  Only
 * selectors that Linux always has are loaded; FS is only ever reset, because loading it would take this thread's TLS
 * away (the program's FS base is KVM's and not concerned).
 */
static uint16_t loadable(uint16_t selector)
{
    return selector <= 3 || selector == 0x2b || selector == 0x33 ? selector : 0;
}

static void load_selectors(const struct aero_vcpu *v)
{
    uint16_t ds, es, fs, gs;
    __asm__ volatile("mov %%ds, %0; mov %%es, %1; mov %%fs, %2; mov %%gs, %3" : "=r"(ds), "=r"(es), "=r"(fs), "=r"(gs));
    if (ds != v->ds) __asm__ volatile("mov %0, %%ds" : : "r"((uint32_t)loadable(v->ds)));
    if (es != v->es) __asm__ volatile("mov %0, %%es" : : "r"((uint32_t)loadable(v->es)));
    if (gs != v->gs) __asm__ volatile("mov %0, %%gs" : : "r"((uint32_t)loadable(v->gs)));
    if (fs != v->fs && v->fs == 0) {
        uint64_t base;
        if (syscall(SYS_arch_prctl, ARCH_GET_FS, &base) == 0) syscall(SYS_arch_prctl, ARCH_SET_FS, base);
    }
}

static void note_selectors(struct aero_vcpu *v)
{
    __asm__ volatile("mov %%ds, %0; mov %%es, %1; mov %%fs, %2; mov %%gs, %3"
                     : "=r"(v->ds), "=r"(v->es), "=r"(v->fs), "=r"(v->gs));
}

/* One KVM_RUN; `dirty`: KVM is to take the registers from us first. */
static int enter(struct aero_vcpu *v, int dirty)
{
    struct kvm_run *run = v->run;
    int result;
    if (v->sync) {
        if (dirty) run->s.regs.regs = v->regs;
        run->kvm_dirty_regs = dirty ? KVM_SYNC_X86_REGS : 0;
        result = v->replays ? replay(v) : ioctl(v->fd, KVM_RUN, 0);
        int error = errno;
        v->regs = run->s.regs.regs;
        errno = error;
    } else {
        if (dirty && ioctl(v->fd, KVM_SET_REGS, &v->regs) < 0) return -1;
        result = ioctl(v->fd, KVM_RUN, 0);
        int error = errno;
        if (ioctl(v->fd, KVM_GET_REGS, &v->regs) < 0) return -1;
        errno = error;
    }
    return result;
}

/* Has KVM finish what its last exit left half done (an `in`, an MMIO access) before registers are replaced: it would
 * go on with them afterwards, in whatever program runs then.  A device's answer not given reads as zero. */
static void finish_pending(struct aero_vcpu *v)
{
    for (int i = 0; i < 16; i++) {
        __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
        if (enter(v, 0) < 0) break;
        if (v->run->exit_reason == KVM_EXIT_IO && v->run->io.direction == KVM_EXIT_IO_IN)
            memset((char *)v->run + v->run->io.data_offset, 0, (size_t)v->run->io.size * v->run->io.count);
        if (v->run->exit_reason == KVM_EXIT_MMIO) memset(v->run->mmio.data, 0, 8);
    }
    __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&v->kicked, __ATOMIC_SEQ_CST))
        __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

static void drop_events(struct aero_vcpu *v)
{
    struct kvm_vcpu_events none;
    memset(&none, 0, sizeof none);
    ioctl(v->fd, KVM_SET_VCPU_EVENTS, &none);
}

/* Brings the vCPU to a point where its whole state can be read or replaced; regs stay in normal form. */
static void aero_settle(struct aero_vcpu *v)
{
    if (v->where == IN_MMIO) {
        memcpy(v->run->mmio.data, &v->mmio_data, 8);
        finish_pending(v);
        v->where = IN_PROGRAM;
    }
}

/* After the segment registers were set to a program's: regs are to be loaded as they are, at CPL 3. */
static void aero_settled_in_program(struct aero_vcpu *v)
{
    drop_events(v);
    v->where = IN_PROGRAM;
}

/* Is the vCPU at CPL 0?  Only asked when it was interrupted at one of the few system addresses. */
static int in_ring0(struct aero_vcpu *v)
{
    struct kvm_sregs sregs;
    return ioctl(v->fd, KVM_GET_SREGS, &sregs) == 0 && (sregs.cs.selector & 3) == 0;
}

/* From normal form to what the vCPU has to hold.  Returns whether the registers are to be loaded, or -1: the program's
 * own address is not one it can run at. */
static int resume(struct aero_vcpu *v)
{
    struct kvm_regs *regs = &v->regs;
    switch (v->where) {
    case IN_MMIO:
        if (!v->mmio_is_write) memcpy(v->run->mmio.data, &v->mmio_data, 8);
        return 0;
    case INTERRUPTED:
        if (memcmp(regs, &v->left, sizeof *regs) == 0) return 0;
        drop_events(v);
        v->where = IN_PROGRAM;
        /* fall through */
    case IN_PROGRAM:
        if (regs->rip >= v->gate.user_end) return -1;
        regs->rflags = program_flags(regs->rflags);
        return 1;
    default:
        if (regs->rip >= v->gate.user_end) return -1;
        regs->rflags = program_flags(regs->rflags);
        if (v->gate.lstar_cpl == 0 && regs->rcx == regs->rip && regs->r11 == regs->rflags) {
            regs->rip = v->gate.sysret;
        } else {
            uint64_t *frame = v->stack_top - 5;
            frame[0] = regs->rip;
            frame[1] = 0x33;
            frame[2] = regs->rflags;
            frame[3] = regs->rsp;
            frame[4] = 0x2b;
            regs->rip = v->gate.iret;
            regs->rsp = v->iret_frame;
        }
        regs->rflags = 2;
        return 1;
    }
}

/* KVM_RUN was interrupted.  Returns a trap, or 0: inside the gate or a stub, where no program state is to be had yet;
 * these are a few instructions long, so go on to their exit. */
static int interrupted(struct aero_vcpu *v)
{
    struct kvm_regs *regs = &v->regs;
    if (regs->rip >= v->gate.user_end) {
        if (in_ring0(v)) {
            if (regs->rip == v->gate.iret) {
                uint64_t *frame = v->stack_top - 5;
                regs->rip = frame[0];
                regs->rflags = frame[2];
                regs->rsp = frame[3];
                v->where = IN_RING0;
                return TRAP_PREEMPTED;
            }
            if (regs->rip == v->gate.sysret) {
                regs->rip = regs->rcx;
                regs->rflags = regs->r11;
                v->where = IN_RING0;
                return TRAP_PREEMPTED;
            }
            return 0;
        }
        if (v->gate.lstar_cpl == 3 && regs->rip - v->gate.gate < 4096) return 0;
    }
    v->where = INTERRUPTED;
    v->left = *regs;
    return TRAP_PREEMPTED;
}

static int gate_port_touched(struct aero_vcpu *v)
{
    struct kvm_regs *regs = &v->regs;
    struct kvm_run *run = v->run;
    if (run->io.direction == KVM_EXIT_IO_OUT && run->io.size == 1 && run->io.count == 1 &&
        regs->rip - v->gate.gate <= 2) {
        v->where = v->gate.lstar_cpl ? IN_PROGRAM : IN_RING0;
        regs->rip = regs->rcx;
        regs->rflags = program_flags(regs->r11);
        /* Where LSTAR is entered at CPL 3 a program can jump here with any RCX; elsewhere it can have `syscall` as its
         * last instruction.  Neither has an address to return to. */
        return regs->rip < v->gate.user_end ? TRAP_SYSCALL : faulted(v, VECTOR_GP, 0);
    }
    if (v->gate.lstar_cpl == 3 && regs->rip < v->gate.user_end) {
        /* The I/O bitmap lets the program itself use this one port: treat it as the #GP that any other port gives. */
        if (run->io.direction == KVM_EXIT_IO_IN) {
            memset((char *)run + run->io.data_offset, 0, (size_t)run->io.size * run->io.count);
            finish_pending(v);
        }
        regs->rflags = program_flags(regs->rflags);
        v->where = IN_PROGRAM;
        return faulted(v, VECTOR_GP, 0);
    }
    return crashed(v, "unexpected access to the gate port at %#llx, direction %llu", regs->rip, run->io.direction);
}

static int stub_reached(struct aero_vcpu *v, unsigned vector)
{
    struct kvm_regs *regs = &v->regs;
    uint64_t *top = v->stack_top;
    if (regs->rip - v->gate.stubs >= 4096)
        return crashed(v, "unexpected output to port %#llx at %#llx", v->run->io.port, regs->rip);
    if (vector == VECTOR_DF || vector == 2 || vector == 18)
        return crashed(v, "exception %llu (double fault, NMI or machine check) in the guest%.0llu", vector, 0);
    if ((top[-4] & 3) != 3)
        return crashed(v, "exception %llu in ring 0 at %#llx", vector, top[-5]);
    v->vector = vector;
    v->error_code = (HAS_ERROR_CODE >> vector & 1) ? top[-6] : 0;
    if (vector == VECTOR_PF) {
        /* The stub pushed RAX below the error code and loaded CR2 into it: cheaper than asking KVM for CR2. */
        v->fault_address = regs->rax;
        regs->rax = top[-7];
    }
    regs->rip = top[-5];
    regs->rflags = program_flags(top[-3]);
    regs->rsp = top[-2];
    v->where = IN_RING0;
    return TRAP_FAULT;
}

static int decode(struct aero_vcpu *v)
{
    struct kvm_run *run = v->run;
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        if (run->io.port == v->gate.gate_port) return gate_port_touched(v);
        if (run->io.direction == KVM_EXIT_IO_OUT && (unsigned)(run->io.port - v->gate.stub_port) < 32)
            return stub_reached(v, run->io.port - v->gate.stub_port);
        return crashed(v, "unexpected access to port %#llx at %#llx", run->io.port, v->regs.rip);
    case KVM_EXIT_MMIO:
        v->mmio_address = run->mmio.phys_addr;
        v->mmio_length = run->mmio.len;
        v->mmio_is_write = run->mmio.is_write;
        v->mmio_data = 0;
        if (run->mmio.is_write) memcpy(&v->mmio_data, run->mmio.data, run->mmio.len <= 8 ? run->mmio.len : 8);
        v->where = IN_MMIO;
        return TRAP_MMIO;
    case KVM_EXIT_SHUTDOWN:
        return crashed(v, "the vCPU shut down (triple fault) at %#llx%.0llu", v->regs.rip, 0);
    case KVM_EXIT_INTERNAL_ERROR:
        return crashed(v, "KVM internal error %llu at %#llx", run->internal.suberror, v->regs.rip);
    case KVM_EXIT_FAIL_ENTRY:
        return crashed(v, "the CPU refused to enter the guest: reason %#llx at %#llx",
                       run->fail_entry.hardware_entry_failure_reason, v->regs.rip);
    default:
        return crashed(v, "unexpected KVM exit %llu at %#llx", run->exit_reason, v->regs.rip);
    }
}

static int run_guest(struct aero_vcpu *v)
{
    int dirty = resume(v), postponed = 0, faults = 0, trap;
    if (dirty < 0) return faulted(v, VECTOR_GP, 0);
    for (;;) {
        if (enter(v, dirty) == 0) { trap = decode(v); break; }
        dirty = 0;
        if (errno == EAGAIN) continue;
        /* A page was read-only for the moment in which its translations are dropped (hv/guest_memory.py). */
        if (errno == EFAULT && faults++ < 1000) { usleep(20); continue; }
        if (errno != EINTR) {
            trap = crashed(v, "KVM_RUN failed: errno %llu at %#llx", errno, v->regs.rip);
            break;
        }
        trap = interrupted(v);
        if (trap) break;
        postponed = 1;
        __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    }
    if (postponed && trap != TRAP_PREEMPTED) {
        __atomic_store_n(&v->kicked, 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    }
    return trap;
}

static int aero_run(struct aero_vcpu *v)
{
    int trap;
    if (!v->run) return crashed(v, "the vCPU is closed%.0llu%.0llu", 0, 0);
    if (!thread_id) thread_id = (int)syscall(SYS_gettid);
    if (core_hold) {
        aero_hold_ends(core_hold);
        aero_cores_out(core_hold, -1);
    }
    running = v;
    /* Before kicked is read: a kick either finds the thread to signal, or is found here. */
    __atomic_store_n(&v->thread, thread_id, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&v->kicked, __ATOMIC_SEQ_CST) || slice_over) trap = TRAP_PREEMPTED;
    else if (v->gate.lstar_cpl == 0) trap = run_guest(v);
    else {
        load_selectors(v);
        trap = run_guest(v);
        note_selectors(v);
    }
    if (trap == TRAP_PREEMPTED) {
        __atomic_store_n(&v->kicked, 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
        slice_over = 0;
    }
    __atomic_store_n(&v->thread, 0, __ATOMIC_SEQ_CST);
    running = NULL;
    if (core_hold) {
        hold_began = now_ns();
        aero_cores_out(core_hold, 1);
    }
    return trap;
}

/* A message: the receiver gets the sender's six words, and what the kernel says of it.  Neither of them runs. */
static void aero_deliver(const struct kvm_regs *said, struct kvm_regs *to, uint64_t badge, uint64_t item,
                         uint64_t object)
{
    to->r8 = said->r8;
    to->r9 = said->r9;
    to->r12 = said->r12;
    to->r13 = said->r13;
    to->r14 = said->r14;
    to->r15 = said->r15;
    to->rdi = badge;
    to->rdx = item;
    to->r10 = object;
}

static void aero_kick(struct aero_vcpu *v)
{
    if (!v->run) return;
    __atomic_store_n(&v->kicked, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    int thread = __atomic_load_n(&v->thread, __ATOMIC_SEQ_CST);
    if (thread) syscall(SYS_tgkill, getpid(), thread, KICK_SIGNAL);
}

static int aero_is_running(struct aero_vcpu *v) { return __atomic_load_n(&v->thread, __ATOMIC_SEQ_CST) != 0; }

/* The calling thread gets a tick every `nanoseconds` from now on, and none that came before counts any more: it ends the
 * run() that is under way, or the next one.  Of its processor time, the guest's included: a core that waits is not woken a hundred times a second for nothing. */
static int aero_slice_start(uint64_t nanoseconds)
{
    struct itimerspec period;
    period.it_interval.tv_sec = period.it_value.tv_sec = (time_t)(nanoseconds / 1000000000u);
    period.it_interval.tv_nsec = period.it_value.tv_nsec = (long)(nanoseconds % 1000000000u);
    if (!has_slice_timer) {
        struct sigevent event;
        memset(&event, 0, sizeof event);
        event.sigev_notify = SIGEV_THREAD_ID;
        event.sigev_signo = KICK_SIGNAL;
        event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
        if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &slice_timer) < 0) return -errno;
        has_slice_timer = 1;
    }
    slice_over = 0;
    return timer_settime(slice_timer, 0, &period, NULL) < 0 ? -errno : 0;
}

static int aero_slice_is_over(void) { return slice_over; }

static void aero_slice_stop(void)
{
    if (has_slice_timer) timer_delete(slice_timer);
    has_slice_timer = 0;
    slice_over = 0;
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The floor of the benchmark: `n` times from one exit at the gate to the next, with the registers passed both ways and
 * nothing decoded.  The vCPU has to stand at a system call of a program that does nothing else.  Nanoseconds, or
 * -1: something else happened. */
static int64_t aero_raw_exit_loop(struct aero_vcpu *v, uint64_t n)
{
    struct kvm_run *run = v->run;
    struct kvm_regs *regs = &run->s.regs.regs;
    int ring0 = v->where == IN_RING0;
    int64_t result = -1;
    if (!run || !v->sync || resume(v) < 0) return -1;
    *regs = v->regs;
    uint64_t start = now();
    for (uint64_t i = 0; i < n; ) {
        run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
        if (ioctl(v->fd, KVM_RUN, 0) < 0) {
            if (errno != EINTR && errno != EAGAIN) goto out;
            __atomic_store_n(&run->immediate_exit, 0, __ATOMIC_SEQ_CST);
            continue;
        }
        if (run->exit_reason != KVM_EXIT_IO || run->io.port != v->gate.gate_port) goto out;
        if (++i == n) break;
        regs->rip = ring0 ? v->gate.sysret : regs->rcx;
        regs->rflags = ring0 ? 2 : regs->r11;
    }
    result = (int64_t)(now() - start);
out:
    v->regs = *regs;
    if (result >= 0) gate_port_touched(v);
    return result;
}

/* For the time that everything around KVM_RUN takes: the next `n` runs do all they do for a system call, but in place of
 * entering the guest find it at the gate again with call `number` and the arguments now in regs, and one more with
 * `last`.  The vCPU has to stand at a system call.  -EINVAL: it does not, or registers are not synchronized. */
static int aero_replay(struct aero_vcpu *v, uint64_t number, uint64_t n, uint64_t last)
{
    struct kvm_run *run = v->run;
    if (!run || !v->sync || run->exit_reason != KVM_EXIT_IO || run->io.port != v->gate.gate_port) return -EINVAL;
    v->replayed = run->s.regs.regs;
    v->replayed.rax = number;
    v->replayed.rdi = v->regs.rdi;
    v->replayed.rsi = v->regs.rsi;
    v->replayed.rdx = v->regs.rdx;
    v->last_number = last;
    v->replays = n + 1;
    return 0;
}
