//! Several segments at once.

use crate::budget::cores;
use crate::error::Error;

/// Works on several segments at once, as many as there are cores: decompressing pages is what it costs. In no
/// promised order; each thread has a state of its own.
pub(super) fn side_by_side<J: Sync, S: Default>(
    jobs: &[J],
    work: &(dyn Fn(&mut S, &J) -> Result<u64, Error> + Sync),
) -> Vec<Result<u64, Error>> {
    let threads = cores().min(jobs.len());
    let run = |thread: usize| -> Vec<Result<u64, Error>> {
        let mut state = S::default();
        jobs.iter().skip(thread).step_by(threads.max(1)).map(|job| work(&mut state, job)).collect()
    };
    std::thread::scope(|scope| {
        let run = &run;
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        let mut done = run(0);
        for other in others {
            match other.join() {
                Ok(results) => done.extend(results),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    })
}
