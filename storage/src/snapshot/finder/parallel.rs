//! Several segments, or row groups of them, at once.

use std::sync::{Mutex, PoisonError};

use crate::budget::cores;

/// A look-up of one term in the open index of a segment takes less than a microsecond, and a thread a tenth of a millisecond
/// to begin and end.
const LOOKUPS_ALONE: usize = 2_048;

/// Works on jobs side by side, but for those that are quick: these are done alone as long as they are few look-ups, with so
/// many in each.
pub(super) fn each_of<J: Send, R: Send>(
    jobs: Vec<J>,
    lookups: usize,
    is_quick: impl Fn(&J) -> bool,
    work: &(dyn Fn(J) -> R + Sync),
) -> Vec<R> {
    let (quick, slow): (Vec<J>, Vec<J>) = jobs.into_iter().partition(is_quick);
    let beside = |(): &mut (), job| work(job);
    if quick.len() * lookups > LOOKUPS_ALONE {
        return side_by_side(slow.into_iter().chain(quick).collect(), &beside);
    }
    let mut done = side_by_side(slow, &beside);
    done.extend(quick.into_iter().map(work));
    done
}

/// Works on jobs in as many threads as there are cores, whoever is free takes the next: of most segments nothing is
/// wanted, and of few pages are decompressed. Gives what comes of them in no promised order; each thread has a state of its own.
pub(super) fn side_by_side<J: Send, S: Default, R: Send>(
    jobs: Vec<J>,
    work: &(dyn Fn(&mut S, J) -> R + Sync),
) -> Vec<R> {
    let threads = cores().min(jobs.len());
    let jobs = Mutex::new(jobs.into_iter());
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        let (mut state, mut done) = (S::default(), Vec::new());
        while let Some(job) = next() {
            done.push(work(&mut state, job));
        }
        done
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut done = run();
        for other in others {
            match other.join() {
                Ok(results) => done.extend(results),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    })
}
