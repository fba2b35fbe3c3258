//! Memory: the thread that makes shards' memory ready before they need it, and gives back to the system
//! what is ready in vain and what the general allocator keeps of buffers that are gone.
//!
//! Touching a chunk takes 0.2 ms, and 6 ms on a virtual machine that gave what it had free back to its host: then
//! the host stops the core until it has found as much. A shard that has something to do meanwhile shouldn't wait
//! for its core, so the thread runs where no shard does, if there is such a core. And it gives way: it has a
//! smaller share than a shard (but no tiny one, since it may hold a lock of the kernel that a shard needs), doesn't
//! interrupt one when it wakes up, and is interrupted at once.
//!
//! The allocator gives unused memory back only when it is next asked for something, and only in part: after
//! values of 512 MB were deleted, more than a gigabyte stayed resident. So it is told to, now and then.
//!
//! Not here: what is made ready, and when it is ordered (`structures`).

use std::ffi::c_long;
use std::io;
use std::sync::OnceLock;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::memory_bounds::{self, address_space_limit};
use basalt_structures::{give_back_left, promise_chunks, supply_chunks, withdraw_chunks};

/// How often what is unused goes back to the system.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(1);
/// A chunk that nobody took goes back when it stood for once or twice as long.
const WITHDRAW_EVERY: Duration = Duration::from_secs(2);

/// How much nicer the thread is than others: it gets about a fourth of a core that a shard wants whole.
const NICER: i32 = 5;
/// How long it may run on a core that a shard has begun to wait for; the shortest the kernel knows (since
/// 6.12, older ones decide themselves).
const SLICE_NS: u64 = 100_000;

static SUPPLIER: OnceLock<Thread> = OnceLock::new();

/// Starts the thread, which is one for all servers of a process. It keeps to the CPUs `aside`, if there are any.
#[expect(clippy::disallowed_methods, reason = "nothing else tells this thread the time")]
pub(crate) fn look_ahead(aside: &[usize]) -> io::Result<()> {
    if SUPPLIER.get().is_some() {
        return Ok(());
    }
    memory_bounds::refresh();
    let aside = set_of(aside)?;
    let supply = move || {
        if let Some(aside) = aside {
            // Where it must not, it runs wherever it may.
            _ = sched_setaffinity(Pid::from_raw(0), &aside);
        }
        give_way();
        let mut gave_back_at = Instant::now();
        let mut withdrew_at = gave_back_at;
        let (mut looked_at, mut look_after) = (gave_back_at, Duration::ZERO);
        loop {
            supply_chunks();
            give_back_left();
            if withdrew_at.elapsed() >= WITHDRAW_EVERY {
                withdraw_chunks();
                withdrew_at = Instant::now();
            }
            if gave_back_at.elapsed() >= GIVE_BACK_EVERY {
                give_back();
                gave_back_at = Instant::now();
            }
            if looked_at.elapsed() >= look_after {
                look_after = memory_bounds::refresh();
                looked_at = Instant::now();
            }
            thread::park_timeout(look_after.min(GIVE_BACK_EVERY));
        }
    };
    let thread = thread::Builder::new().name("memory".into()).spawn(supply)?.thread().clone();
    if SUPPLIER.set(thread).is_ok() {
        promise_chunks(|| {
            if let Some(thread) = SUPPLIER.get() {
                thread.unpark();
            }
        });
    }
    Ok(())
}

fn set_of(cpus: &[usize]) -> io::Result<Option<CpuSet>> {
    let mut set = CpuSet::new();
    cpus.iter().try_for_each(|&cpu| set.set(cpu))?;
    Ok((!cpus.is_empty()).then_some(set))
}

/// Gives memory of the general allocator that nothing uses back to the system: what this thread keeps, and what
/// threads that ended have left.
pub(crate) fn give_back_own() {
    give_back();
}

/// Gives memory of the general allocator that nothing uses back to the system.
#[expect(unsafe_code, reason = "the allocator's binding has no safe face for it")]
fn give_back() {
    // SAFETY: may be called by any thread at any time; it touches nothing that is in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// `mi_option_purge_delay` of the allocator's third version, which its binding does not name: for how many
/// milliseconds pages that nothing uses are kept.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Its default.
const PURGE_DELAY_MS: c_long = 1000;

/// Has the general allocator keep no unused pages, where memory is short: those of a thousand buffers that went may be
/// a good part of it.
#[expect(unsafe_code, reason = "the allocator's binding has no safe face for it")]
pub(crate) fn purge_at_once(is_short: bool) {
    // SAFETY: may be called by any thread at any time; the option is read when pages are freed.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, if is_short { 0 } else { PURGE_DELAY_MS });
    }
}

/// `mi_option_arena_reserve`, in KiB: how much address space the allocator reserves at first. Of a limited one it
/// must leave enough to shards.
const ARENA_RESERVE: libmimalloc_sys::mi_option_t = 23;
const ARENA_RESERVE_KIB: c_long = 32 << 10;

/// Runs before anything is allocated, so before `main`.
#[expect(unsafe_code, reason = "nothing else comes before the first allocation")]
#[used]
// SAFETY: a pointer to a function is what the section holds.
#[unsafe(link_section = ".init_array")]
static RESERVE: extern "C" fn() = {
    extern "C" fn reserve() {
        if address_space_limit().is_some() {
            // SAFETY: the option is read when memory is reserved.
            unsafe { libmimalloc_sys::mi_option_set(ARENA_RESERVE, ARENA_RESERVE_KIB) };
        }
    }
    reserve
};

/// What `sched_setattr` takes, in its first version.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

/// Has the kernel run this thread after others. Where it won't, it runs as they do.
#[expect(unsafe_code, reason = "no library has a safe face for it")]
fn give_way() {
    // SAFETY: asks for a number; 0 is the calling thread.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let attributes = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: libc::SCHED_BATCH as u32,
        nice: (nice + NICER).min(19),
        runtime_ns: SLICE_NS,
        ..SchedAttr::default()
    };
    // SAFETY: the kernel reads as much of the structure as its size says.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}
