//! Standing back: the idle I/O class and the lowest CPU priority.
//!
//! Both are the calling thread's own, and are inherited by threads that it
//! starts afterwards.

#![expect(unsafe_code, reason = "no safe wrapper of ioprio_set(2) is kept up")]

use std::io;

use rustix::io::Errno;

/// The lowest CPU priority there is: nice(2).
const LOWEST_PRIORITY: i32 = 19;
/// `IOPRIO_WHO_PROCESS`, of linux/ioprio.h: a thread; 0 is the calling one.
const WHO_THREAD: libc::c_int = 1;
/// `IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)`, of linux/ioprio.h.
const IDLE_CLASS: libc::c_int = 3 << 13;

/// Lets everything else on the machine go before this thread.
///
/// # Errors
/// When the kernel, or a filter of system calls, refuses it.
pub(crate) fn stand_back() -> Result<(), Errno> {
    rustix::process::setpriority_process(None, LOWEST_PRIORITY)?;
    // SAFETY: ioprio_set takes three integers and touches no memory of ours.
    let set = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_THREAD, 0, IDLE_CLASS) };
    if set == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_is_in_the_idle_class_with_the_lowest_priority() {
        let (class, nice) = std::thread::spawn(|| {
            stand_back().unwrap();
            // SAFETY: ioprio_get takes two integers and touches no memory of ours.
            let class = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_THREAD, 0) };
            (class, rustix::process::getpriority_process(None).unwrap())
        })
        .join()
        .unwrap();
        assert_eq!((class, nice), (IDLE_CLASS.into(), LOWEST_PRIORITY));
    }
}
