//! Power cuts at every operation: what was acknowledged is there, nothing is invented, order holds.
//!
//! A scenario is a seed: appends, trims, planted faults of the disk, and the clock. It runs once to
//! count its operations, then once per operation with the power cut there, and then lives on after the
//! restart. The oracle knows only what was answered. `plant` plants bugs that it has to find.

use std::collections::BTreeMap;

use super::*;

/// Enough for ten thousand crash states; `make crash-states SCENARIOS=28000` looks at a million.
fn scenarios() -> u64 {
    std::env::var("SILMARI_CRASH_SCENARIOS").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

/// How often something happened. A run in which one of them never did has tested nothing.
#[derive(Debug, Default)]
struct Sometimes {
    cases: u64,
    replayed: u64,
    refused: u64,
    reappeared: u64,
    torn_tails: u64,
    trimmed_files: u64,
    reused_files: u64,
    starts_without_power: u64,
}

#[derive(Default)]
struct Oracle {
    next_id: u64,
    acknowledged: BTreeMap<u64, u64>,
    /// Everything up to here is in segments.
    catalog: u64,
    /// No later sequence may be as low.
    highest: u64,
    /// The process was killed and the page cache lived on. After a failed sync it shows a refused
    /// record that a later power cut takes away: it counts as lost then, or its sequence is free again.
    was_killed: bool,
}

impl Oracle {
    fn check_replay(&mut self, bench: &Bench, sometimes: &mut Sometimes) -> Result<(), String> {
        let mut last = (self.catalog, None);
        let mut found = BTreeMap::new();
        for record in &bench.replayed {
            let id = id_of(record).ok_or_else(|| format!("record {} was never appended", record.sequence))?;
            if record.sequence <= last.0 || Some(id) <= last.1 || id >= self.next_id {
                return Err(format!("record {} with id {id} comes after {last:?}", record.sequence));
            }
            last = (record.sequence, Some(id));
            found.insert(record.sequence, id);
            sometimes.reappeared += u64::from(!self.acknowledged.contains_key(&record.sequence));
        }
        for (sequence, id) in self.acknowledged.range(self.catalog + 1..) {
            if found.get(sequence) != Some(id) {
                return Err(format!("record {sequence} with id {id} was acknowledged; found {found:?}"));
            }
        }
        if bench.report.lost_records > 0 && !self.was_killed {
            return Err(format!("nothing was lost, the report says {:?}", bench.report));
        }
        if !self.was_killed {
            self.highest = self.highest.max(last.0);
        }
        sometimes.replayed += bench.report.records;
        sometimes.torn_tails += u64::from(bench.report.truncated_tail_bytes > 0);
        Ok(())
    }

    fn append(&mut self, bench: &mut Bench, records: u64, sometimes: &mut Sometimes) -> Result<(), String> {
        let first = self.next_id;
        self.next_id += records;
        for (answer, id) in bench.append(first..first + records).into_iter().zip(first..) {
            match answer {
                Ok(durable) if durable.sequence > self.highest => {
                    self.highest = durable.sequence;
                    self.acknowledged.insert(durable.sequence, id);
                }
                Ok(durable) => return Err(format!("sequence {} was given out before", durable.sequence)),
                Err(_) => sometimes.refused += 1,
            }
        }
        let visible = bench.visible();
        let is_known = |(sequence, id): &(u64, u64)| self.acknowledged.get(sequence) == Some(id);
        if !visible.is_sorted() || !visible.iter().all(is_known) {
            return Err(format!("visible is not what was acknowledged: {visible:?}"));
        }
        Ok(())
    }

    /// As the store does: first the catalog says what is in segments, then the log is trimmed.
    fn trim(&mut self, bench: &mut Bench, dice: &mut Dice, sometimes: &mut Sometimes) {
        let live: Vec<u64> =
            self.acknowledged.range(self.catalog + 1..).map(|(sequence, _)| *sequence).collect();
        if live.is_empty() {
            return;
        }
        self.catalog = live[dice.below(live.len() as u64) as usize];
        sometimes.trimmed_files += bench.trim(self.catalog).unwrap_or(0) as u64;
    }
}

/// One life of the process on `fs`: opens, checks what is replayed, works.
fn live(
    fs: &SimFs,
    planted: Planted,
    oracle: &mut Oracle,
    dice: &mut Dice,
    sometimes: &mut Sometimes,
) -> Result<(), String> {
    let settings = Settings { planted, segment_bytes: 2048, group_bytes_max: 2048, ..Settings::default() };
    let Ok(mut bench) = Bench::try_open(fs, &settings, oracle.catalog) else {
        sometimes.starts_without_power += 1;
        return Ok(());
    };
    oracle.check_replay(&bench, sometimes)?;
    let has_faults = dice.percent(40);
    for _ in 0..6 + dice.below(6) {
        if has_faults && dice.percent(30) {
            let fault = [Fault::Io, Fault::NoSpace, Fault::ShortWrite][dice.below(3) as usize];
            fs.fail(dice.below(6), fault);
        }
        match dice.below(10) {
            0..7 => oracle.append(&mut bench, 1 + dice.below(4), sometimes)?,
            7..9 => oracle.trim(&mut bench, dice, sometimes),
            _ => bench.clock.advance(Duration::from_secs(2)),
        }
    }
    sometimes.reused_files += bench.wal.stats().files_reused;
    if dice.percent(20) {
        bench.writer.finish();
    }
    Ok(())
}

/// Two lives and a last start. The power is cut in the first after `power_off` operations, in the
/// second at its end. The operations of the first life.
fn case(
    seed: u64,
    planted: Planted,
    power_off: Option<u64>,
    sometimes: &mut Sometimes,
) -> Result<u64, String> {
    sometimes.cases += 1;
    let mut oracle = Oracle::default();
    let mut dice = Dice(seed);
    let fs = SimFs::default();
    if let Some(operations) = power_off {
        fs.power_off(operations);
    }
    live(&fs, planted, &mut oracle, &mut dice, sometimes)?;
    let operations = fs.counts().operations;

    let mut dice = Dice(seed ^ power_off.map_or(0, |at| at + 1) << 20);
    let fs = restart(&fs, &mut oracle, &mut dice);
    live(&fs, planted, &mut oracle, &mut dice, sometimes)?;
    let fs = restart(&fs, &mut oracle, &mut dice);
    live(&fs, Planted::default(), &mut oracle, &mut dice, sometimes)?;
    Ok(operations)
}

/// Mostly by a power cut, sometimes because only the process was killed.
fn restart(fs: &SimFs, oracle: &mut Oracle, dice: &mut Dice) -> SimFs {
    if dice.percent(15) {
        oracle.was_killed = true;
        return fs.kill();
    }
    fs.crash(dice.roll())
}

/// The first violation, with the case that shows it.
fn first_violation(planted: Planted, sometimes: &mut Sometimes) -> Option<String> {
    for seed in 0..scenarios() {
        let operations = match case(seed, planted, None, sometimes) {
            Ok(operations) => operations,
            Err(violation) => return Some(format!("case({seed}, {planted:?}, None): {violation}")),
        };
        for at in 0..operations {
            if let Err(violation) = case(seed, planted, Some(at), sometimes) {
                return Some(format!("case({seed}, {planted:?}, Some({at})): {violation}"));
            }
        }
    }
    None
}

#[test]
fn everything_acknowledged_survives_a_power_cut_at_every_operation() {
    let mut sometimes = Sometimes::default();
    assert_eq!(first_violation(Planted::default(), &mut sometimes), None);
    let Sometimes {
        cases,
        replayed,
        refused,
        reappeared,
        torn_tails,
        trimmed_files,
        reused_files,
        starts_without_power,
    } = sometimes;
    assert!(cases >= 10_000, "{cases} cases");
    for happened in
        [replayed, refused, reappeared, torn_tails, trimmed_files, reused_files, starts_without_power]
    {
        assert!(happened > 0, "{sometimes:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut sometimes = Sometimes::default();
        case(11, Planted::default(), Some(30), &mut sometimes).expect("holds");
        format!("{sometimes:?}")
    };
    assert_eq!(run(), run());
}

/// The violation that a planted bug makes.
pub(crate) fn caught(plant: Plant) -> Option<String> {
    first_violation(Planted::new(plant), &mut Sometimes::default())
}
