//! How the kernel shares the cores among this process's threads. Each of these is of the thread that calls it, for Linux
//! counts threads one by one, and none needs a privilege.

use preempt_rt::sched::{Pid, Scheduler, SchedulerParams, set_scheduler};

/// A tenth of what an ordinary thread gets where both want a core.
const NICE: i32 = 10;
/// Only real-time policies have one.
const NO_PRIORITY: SchedulerParams = SchedulerParams { priority: 0 };

/// For work that nobody waits for.
pub(super) fn give_way() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!("a thread in the background runs at full priority: {error}");
    }
}

/// For a thread that others wake often and for little: being woken, it waits for a free core or for the end of what runs
/// (`SCHED_BATCH`), and finds more to do then; its share of the cores is that of any other thread. A thread that takes
/// the core from who has just woken it does so for a message at a time.
pub(super) fn take_no_core_when_woken() {
    if let Err(error) = set_scheduler(Pid::current_thread(), Scheduler::SCHED_BATCH, NO_PRIORITY) {
        tracing::debug!("a thread takes a core whenever it is woken: {error}");
    }
}

#[cfg(test)]
mod tests {
    use preempt_rt::sched::get_scheduler;
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn only_the_thread_that_asks_is_scheduled_otherwise() {
        let now = || {
            let policy = get_scheduler(Pid::current_thread()).unwrap();
            (policy, getpriority_process(None).unwrap())
        };
        let before = now();
        let asked = std::thread::spawn(move || {
            take_no_core_when_woken();
            let batch = now();
            give_way();
            (batch, now())
        });
        let batch = Scheduler::SCHED_BATCH;
        assert_eq!(asked.join().unwrap(), ((batch, before.1), (batch, NICE)));
        assert_eq!(now(), before);
    }
}
