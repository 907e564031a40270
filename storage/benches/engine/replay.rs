//! The same requests again, later and with ids of their own: as many records as wanted from one lot, at the cost of
//! copying bytes.
//!
//! A pass moves the times, and changes trace ids, correlation ids and order numbers in place, wherever they stand.
//! Everything else repeats, so that what a page of rows compresses to is what it would be with one large lot.

use memchr::memmem;
use model::Signal;
use model::otlp::{self, attributes};
use model::wire::{Fields, Repeated, Value};

use super::workload::Request;

const ORDER: &[u8] = b"ORD-";
const ORDER_DIGITS: usize = 8;
const HEX_DIGITS: usize = 8;

/// A request and where in it stands what changes.
pub(crate) struct Replay {
    pub(crate) signal: Signal,
    bytes: Vec<u8>,
    records: usize,
    /// Eight bytes each, little-endian.
    times: Vec<usize>,
    /// Trace ids; the first eight bytes change.
    traces: Vec<usize>,
    /// Correlation ids; the first eight digits change.
    correlations: Vec<usize>,
    /// Order numbers.
    orders: Vec<usize>,
}

impl Replay {
    pub(crate) fn new(request: &Request) -> Self {
        let bytes = request.bytes.clone();
        let mut replay = Self {
            signal: request.signal,
            records: 0,
            times: Vec::new(),
            traces: Vec::new(),
            correlations: Vec::new(),
            orders: memmem::find_iter(&bytes, ORDER).map(|at| at + ORDER.len()).collect(),
            bytes: Vec::new(),
        };
        for resource in otlp::resources(&bytes).expect("made here").map(|group| group.expect("made here")) {
            for scope in resource.scopes().map(|scope| scope.expect("made here")) {
                scope.items().for_each(|leaf| replay.read(&bytes, leaf));
            }
        }
        replay.bytes = bytes;
        replay
    }

    fn read(&mut self, bytes: &[u8], leaf: &[u8]) {
        let (times, trace, list): (&[u32], u32, u32) = match self.signal {
            Signal::Traces => (&[7, 8], 1, 9),
            Signal::Logs => (&[1, 11], 9, 6),
            Signal::Metrics => {
                for sum in Repeated::new(leaf, 7).iter() {
                    Repeated::new(sum, 1).iter().for_each(|point| self.read_times(bytes, point, &[3]));
                    self.records += Repeated::new(sum, 1).iter().count();
                }
                return;
            }
        };
        self.records += 1;
        self.read_times(bytes, leaf, times);
        self.traces.extend(Repeated::new(leaf, trace).iter().map(|id| offset(bytes, id)));
        for attribute in attributes(Repeated::new(leaf, list)).filter(|one| one.key == "correlation_id") {
            self.correlations.extend(attribute.value.as_str().map(|id| offset(bytes, id.as_bytes())));
        }
    }

    fn read_times(&mut self, bytes: &[u8], message: &[u8], fields: &[u32]) {
        for (number, value) in Fields::new(message).map(|field| field.expect("made here")) {
            let Value::Fixed64(time) = value else { continue };
            if fields.contains(&number) {
                let mut wanted = vec![(number << 3 | 1) as u8];
                wanted.extend_from_slice(&time.to_le_bytes());
                let at = memmem::find(message, &wanted).expect("it was just read");
                self.times.push(offset(bytes, message) + at + 1);
            }
        }
    }

    /// Records of the request.
    pub(crate) const fn records(&self) -> usize {
        self.records
    }

    /// The request of a pass, all of it `later` nanoseconds later. Pass 0 is the request itself.
    pub(crate) fn pass(&self, pass: u32, later: i64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for at in &self.times {
            let time = &mut bytes[*at..*at + 8];
            let moved = i64::from_le_bytes((&*time).try_into().expect("eight bytes")) + later;
            time.copy_from_slice(&moved.to_le_bytes());
        }
        for at in &self.traces {
            change_trace(&mut bytes[*at..*at + 16], pass);
        }
        for at in &self.correlations {
            change_hex(&mut bytes[*at..*at + HEX_DIGITS], pass);
        }
        for at in &self.orders {
            change_order(&mut bytes[*at..*at + ORDER_DIGITS], pass);
        }
        bytes
    }
}

/// The correlation id of a pass.
pub(crate) fn correlation_id(id: &str, pass: u32) -> String {
    let mut bytes = id.as_bytes().to_vec();
    change_hex(&mut bytes[..HEX_DIGITS], pass);
    String::from_utf8(bytes).expect("hex digits stay hex digits")
}

fn spread(pass: u32) -> u64 {
    u64::from(pass).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn change_trace(id: &mut [u8], pass: u32) {
    id.iter_mut().zip(spread(pass).to_le_bytes()).for_each(|(byte, with)| *byte ^= with);
}

fn change_hex(digits: &mut [u8], pass: u32) {
    for (at, digit) in digits.iter_mut().enumerate() {
        let value = char::from(*digit).to_digit(16).expect("a hex digit");
        let with = (spread(pass) >> (32 + at * 4)) as u32 & 15;
        *digit = char::from_digit(value ^ with, 16).expect("below 16") as u8;
    }
}

fn change_order(digits: &mut [u8], pass: u32) {
    let number = digits.iter().fold(0u64, |number, digit| number * 10 + u64::from(*digit - b'0'));
    let mut number = (number + u64::from(pass) * 1_000_000) % 100_000_000;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn offset(bytes: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - bytes.as_ptr() as usize
}
