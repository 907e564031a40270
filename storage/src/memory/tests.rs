//! Whatever queries ask for, in any order and at once: never more than is theirs, and all of it comes back.

use proptest::prelude::*;

use super::*;

const MIB: usize = 1 << 20;

/// 64 MiB, of which 32 are for the head, 2 for pages, 8 for requests: 22 are left.
fn memory() -> Memory {
    Memory::new(64 * MIB, 32 * MIB, 2 * MIB)
}

#[test]
fn a_query_gets_what_is_left_beside_head_pages_and_requests() {
    let memory = memory();
    let first = memory.reserve();
    first.grow(22 * MIB).expect("all there is");
    let second = memory.reserve();
    let refusal = OutOfMemory { wanted: 1, free: 0, bytes_max: 64 * MIB };
    assert_eq!(second.grow(1), Err(refusal));
    assert_eq!((second.refusal(), first.refusal()), (Some(refusal), None));
    drop(first);
    second.grow(1).expect("free again");
    assert_eq!(memory.refused(), 1);
}

#[test]
fn what_is_left_of_a_step_is_used_to_the_last_byte() {
    let memory = Memory::new(1_000, 0, 0);
    let query = memory.reserve();
    query.grow(875).expect("less than a step, and all there is");
    assert_eq!(query.grow(1).expect_err("an eighth is for requests").free, 0);
    assert_eq!(memory.reserved(), 875);
}

#[test]
fn requests_beyond_their_share_and_the_head_leave_less_for_queries() {
    let memory = memory();
    let in_flight = Arc::new(AtomicUsize::new(8 * MIB));
    let counted = Arc::clone(&in_flight);
    memory.count_requests(move || counted.load(Ordering::Relaxed));
    assert_eq!(memory.free(), 22 * MIB, "the head's share is kept for it while it is empty");
    in_flight.store(44 * MIB, Ordering::Relaxed);
    assert_eq!(memory.free(), 18 * MIB);
    memory.set_head(10 << 20);
    assert_eq!(memory.free(), 8 * MIB);
    memory.set_head(u64::MAX);
    assert_eq!(memory.free(), 0);
}

#[test]
fn a_part_leaves_as_much_for_others() {
    let memory = memory();
    let (first, second) = (memory.reserve(), memory.reserve());
    assert_eq!(first.grow_up_to(4 * MIB, MIB), Ok(4 * MIB));
    assert_eq!(second.grow_up_to(16 * MIB, MIB), Ok(9 * MIB));
    let third = memory.reserve();
    assert_eq!(third.grow_up_to(16 * MIB, 5 * MIB).map_err(|refusal| refusal.free), Err(9 * MIB));
    drop((first, second));
    assert_eq!(memory.reserved(), 0);
}

#[test]
fn memory_without_a_limit_refuses_nothing() {
    let query = Memory::unbounded().reserve();
    query.grow(usize::MAX / 2).expect("no limit");
}

/// What a query does next.
#[derive(Clone, Debug)]
enum Step {
    Grow(usize),
    GrowUpTo(usize),
    Shrink(usize),
    Clone,
    Drop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12 * MIB).prop_map(Step::Grow),
        1 => (0..12 * MIB).prop_map(Step::GrowUpTo),
        2 => (0..12 * MIB).prop_map(Step::Shrink),
        1 => Just(Step::Clone),
        1 => Just(Step::Drop),
    ]
}

proptest! {
    #[test]
    fn queries_never_hold_more_than_is_theirs_and_give_all_back(steps in prop::collection::vec((0..4_usize, step()), 0..200)) {
        let memory = memory();
        // What each query uses, by our own count.
        let mut queries: Vec<(Vec<Reservation>, usize)> = (0..4).map(|_| (vec![memory.reserve()], 0)).collect();
        for (at, step) in steps {
            let (clones, used) = &mut queries[at];
            match step {
                Step::Grow(bytes) => *used += clones[0].grow(bytes).map_or(0, |()| bytes),
                Step::GrowUpTo(bytes) => *used += clones[0].grow_up_to(bytes, 0).unwrap_or(0),
                Step::Shrink(bytes) => {
                    clones[0].shrink(bytes);
                    *used = used.saturating_sub(bytes);
                }
                Step::Clone => clones.push(clones[0].clone()),
                Step::Drop => {
                    clones.pop();
                    if clones.is_empty() {
                        (*clones, *used) = (vec![memory.reserve()], 0);
                    }
                }
            }
            let used: usize = queries.iter().map(|(_, used)| used).sum();
            prop_assert!(memory.reserved() <= 22 * MIB);
            prop_assert!(memory.reserved() >= used);
            prop_assert!(memory.reserved() <= used + queries.len() * STEP_BYTES);
        }
        drop(queries);
        prop_assert_eq!(memory.reserved(), 0);
    }
}

#[test]
fn queries_that_grow_at_once_share_what_there_is() {
    let memory = memory();
    let most = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8_usize {
            let (memory, most) = (&memory, &most);
            scope.spawn(move || {
                for round in 0..2_000 {
                    let query = memory.reserve();
                    while query.grow(MIB / 3 * (1 + (thread + round) % 5)).is_ok() {
                        most.fetch_max(memory.reserved(), Ordering::Relaxed);
                    }
                    query.shrink(MIB);
                }
            });
        }
    });
    assert_eq!(memory.reserved(), 0);
    assert!((20 * MIB..=22 * MIB).contains(&most.into_inner()), "all of it is used, and no more");
}
