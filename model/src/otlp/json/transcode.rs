//! Walks JSON text along a message table and writes protobuf bytes.
//!
//! Invariant: after a wrong value the output ends where the record began, and the walk goes on behind
//! the record; every record of the text is either in the output or counted as rejected.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::schema::{Field, Kind, Message};
use super::{NotTranscoded, Transcoded};
use crate::json::{self, Cursor, JsonError};
use crate::wire::{put_bytes, put_fixed32, put_fixed64, put_u64, put_varint};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base64 of either alphabet is accepted, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Why the walk stopped.
enum Stop {
    /// The text is no JSON from here on.
    Syntax(JsonError),
    /// The output outgrew its limit.
    TooLarge,
    /// A value that its field cannot hold; the record is lost, the rest is not.
    Value(String),
}

impl From<JsonError> for Stop {
    fn from(error: JsonError) -> Self {
        Self::Syntax(error)
    }
}

#[derive(Clone, Copy)]
enum Step {
    Name(&'static str),
    Index(usize),
}

struct Walk<'a> {
    cursor: Cursor<'a>,
    path: Vec<Step>,
    bytes_max: usize,
    done: Transcoded,
}

pub(super) fn transcode(
    request: &'static Message,
    text: &str,
    bytes_max: usize,
) -> Result<Transcoded, NotTranscoded> {
    let mut walk = Walk::new(text, bytes_max);
    let stop = match walk.request(request) {
        Ok(()) => return Ok(walk.done),
        Err(stop) => stop,
    };
    let (line, column) = walk.cursor.place();
    Err(match stop {
        Stop::Syntax(error) => NotTranscoded::Syntax(error),
        Stop::TooLarge => NotTranscoded::TooLarge { bytes_max, line, column },
        Stop::Value(problem) => {
            NotTranscoded::Value { problem: walk.describe(&problem), field: walk.place(), line, column }
        }
    })
}

impl<'a> Walk<'a> {
    fn new(text: &'a str, bytes_max: usize) -> Self {
        Self { cursor: Cursor::new(text), path: Vec::new(), bytes_max, done: Transcoded::default() }
    }

    fn request(&mut self, request: &'static Message) -> Result<(), Stop> {
        self.message(request)?;
        Ok(self.cursor.end()?)
    }

    fn message(&mut self, message: &'static Message) -> Result<(), Stop> {
        self.expect(json::Kind::Object)?;
        self.cursor.open()?;
        let mut is_first = true;
        while let Some(key) = self.cursor.next_key(&mut is_first)? {
            let field = message.fields.iter().find(|field| field.name == key);
            match field {
                None => drop(self.cursor.skip()?),
                Some(_) if self.cursor.take_null()? => {}
                Some(field) => {
                    self.path.push(Step::Name(field.name));
                    self.field(field)?;
                    self.path.pop();
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &'static Field) -> Result<(), Stop> {
        match field.kind {
            Kind::One(message) => self.nested(field.number, message),
            Kind::Many(message) => self.elements(|walk| walk.nested(field.number, message)),
            Kind::Records(message) => self.elements(|walk| walk.record(field.number, message)),
            Kind::Texts => self.elements(|walk| walk.scalar(field.number, Kind::Text)),
            Kind::Doubles => self.packed(field.number, |walk| Ok(walk.double()?.to_bits())),
            Kind::Fixed64s => self.packed(field.number, |walk| walk.integer()),
            Kind::UInt64s => self.packed_varints(field.number),
            scalar => self.scalar(field.number, scalar),
        }
    }

    /// Runs `each` on every element of an array; `null` elements are passed over.
    fn elements(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        self.expect(json::Kind::Array)?;
        self.cursor.open()?;
        let (mut is_first, mut index) = (true, 0);
        while self.cursor.next_element(&mut is_first)? {
            if !self.cursor.take_null()? {
                self.path.push(Step::Index(index));
                each(self)?;
                self.path.pop();
            }
            if self.done.request.len() > self.bytes_max {
                return Err(Stop::TooLarge);
            }
            index += 1;
        }
        Ok(())
    }

    fn nested(&mut self, number: u32, message: &'static Message) -> Result<(), Stop> {
        self.length_delimited(number, |walk| walk.message(message))
    }

    fn length_delimited(
        &mut self,
        number: u32,
        write: impl FnOnce(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        put_varint(&mut self.done.request, u64::from(number) << 3 | 2);
        let at = self.done.request.len();
        write(self)?;
        let mut prefix = Vec::with_capacity(5);
        put_varint(&mut prefix, (self.done.request.len() - at) as u64);
        self.done.request.splice(at..at, prefix);
        Ok(())
    }

    /// An element that is left out when a value in it is wrong.
    fn record(&mut self, number: u32, message: &'static Message) -> Result<(), Stop> {
        let (start, steps) = (self.cursor.mark(), self.path.len());
        let (written, rejected) = (self.done.request.len(), self.done.rejected);
        match self.nested(number, message) {
            Err(Stop::Value(problem)) => {
                let problem = self.describe(&problem);
                if self.done.has_room() {
                    let place = self.cursor.place();
                    self.done.places.push(place);
                }
                self.done.request.truncate(written);
                self.path.truncate(steps);
                self.cursor.rewind(start);
                // What was rejected inside the element is counted again here, with all that it holds.
                let lost = self.count_records(message)?;
                self.done.rejected = rejected;
                self.done.reject(lost, problem);
                Ok(())
            }
            other => other,
        }
    }

    /// Passes one value and counts the records in it.
    fn count_records(&mut self, message: &'static Message) -> Result<usize, JsonError> {
        if !message.holds_records() {
            return self.cursor.skip().map(|_| 1);
        }
        self.count_below(message)
    }

    fn count_below(&mut self, message: &'static Message) -> Result<usize, JsonError> {
        if self.cursor.kind()? != json::Kind::Object {
            return self.cursor.skip().map(|_| 0);
        }
        self.cursor.open()?;
        let (mut is_first, mut count) = (true, 0);
        while let Some(key) = self.cursor.next_key(&mut is_first)? {
            let field = message.fields.iter().find(|field| field.name == key);
            count += match field.map(|field| field.kind) {
                Some(Kind::Records(inner)) => self.count_elements(inner)?,
                Some(Kind::One(inner)) if inner.holds_records() => self.count_below(inner)?,
                _ => self.cursor.skip().map(|_| 0)?,
            };
        }
        Ok(count)
    }

    fn count_elements(&mut self, message: &'static Message) -> Result<usize, JsonError> {
        if self.cursor.kind()? != json::Kind::Array {
            return self.cursor.skip().map(|_| 0);
        }
        self.cursor.open()?;
        let (mut is_first, mut count) = (true, 0);
        while self.cursor.next_element(&mut is_first)? {
            if !self.cursor.take_null()? {
                count += self.count_records(message)?;
            }
        }
        Ok(count)
    }

    fn packed(&mut self, number: u32, each: impl Fn(&mut Self) -> Result<u64, Stop>) -> Result<(), Stop> {
        self.length_delimited(number, |walk| {
            walk.elements(|walk| {
                let bits = each(walk)?;
                walk.done.request.extend_from_slice(&bits.to_le_bytes());
                Ok(())
            })
        })
    }

    fn packed_varints(&mut self, number: u32) -> Result<(), Stop> {
        self.length_delimited(number, |walk| {
            walk.elements(|walk| {
                let value = walk.integer()?;
                put_varint(&mut walk.done.request, value);
                Ok(())
            })
        })
    }

    fn scalar(&mut self, number: u32, kind: Kind) -> Result<(), Stop> {
        match kind {
            Kind::Text => {
                let text = self.text()?;
                put_bytes(&mut self.done.request, number, text.as_bytes());
            }
            Kind::Bytes => {
                let bytes = self.base64()?;
                put_bytes(&mut self.done.request, number, &bytes);
            }
            Kind::Id(bytes) => {
                let id = self.hex(bytes)?;
                if !id.is_empty() {
                    put_bytes(&mut self.done.request, number, &id);
                }
            }
            Kind::Bool => {
                self.expect(json::Kind::Bool)?;
                let value = self.cursor.boolean()?;
                put_u64(&mut self.done.request, number, u64::from(value));
            }
            Kind::Double => {
                let value = self.double()?;
                put_fixed64(&mut self.done.request, number, value.to_bits());
            }
            Kind::Fixed64 => {
                let value: u64 = self.integer()?;
                put_fixed64(&mut self.done.request, number, value);
            }
            Kind::SFixed64 => {
                let value: i64 = self.integer()?;
                put_fixed64(&mut self.done.request, number, value as u64);
            }
            Kind::Fixed32 => {
                let value: u32 = self.integer()?;
                put_fixed32(&mut self.done.request, number, value);
            }
            Kind::Int64 => {
                let value: i64 = self.integer()?;
                put_u64(&mut self.done.request, number, value as u64);
            }
            Kind::UInt32 => {
                let value: u32 = self.integer()?;
                put_u64(&mut self.done.request, number, u64::from(value));
            }
            Kind::SInt32 => {
                let value: i32 = self.integer()?;
                let zigzag = ((value << 1) ^ (value >> 31)) as u32;
                put_u64(&mut self.done.request, number, u64::from(zigzag));
            }
            Kind::Enum(names) => {
                let value = self.enumeration(names)?;
                put_u64(&mut self.done.request, number, i64::from(value) as u64);
            }
            _ => unreachable!("messages and lists are written by `field`"),
        }
        Ok(())
    }

    fn text(&mut self) -> Result<Cow<'a, str>, Stop> {
        self.expect(json::Kind::String)?;
        Ok(self.cursor.string()?)
    }

    fn base64(&mut self) -> Result<Vec<u8>, Stop> {
        let text = self.text()?.replace('-', "+").replace('_', "/");
        BASE64.decode(&text).map_err(|error| Stop::Value(format!("no base64: {error}")))
    }

    fn hex(&mut self, bytes: usize) -> Result<Vec<u8>, Stop> {
        let text = self.text()?;
        if let Some(other) = text.chars().find(|digit| !digit.is_ascii_hexdigit()) {
            return Err(Stop::Value(format!("`{}` is no hex digit", other.escape_default())));
        }
        if !text.is_empty() && text.len() != bytes * 2 {
            return Err(Stop::Value(format!("{} hex digits, expected {}", text.len(), bytes * 2)));
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
        Ok(text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect())
    }

    /// The text of a number, which may stand in quotes.
    fn number_text(&mut self) -> Result<Cow<'a, str>, Stop> {
        match self.cursor.kind()? {
            json::Kind::Number => Ok(Cow::Borrowed(self.cursor.number()?)),
            json::Kind::String => Ok(self.cursor.string()?),
            other => Err(Stop::Value(format!("{}, expected a number", other.name()))),
        }
    }

    /// An integer of any width; `5`, `"5"` and `5.0` are the same.
    fn integer<I: std::str::FromStr + TryFrom<i128>>(&mut self) -> Result<I, Stop> {
        let text = self.number_text()?;
        let whole = || {
            let value: f64 = text.parse().ok()?;
            (value.fract() == 0.0 && value.abs() < 2e19).then_some(value as i128)
        };
        text.parse().ok().or_else(|| I::try_from(whole()?).ok()).ok_or_else(|| {
            let bits = size_of::<I>() * 8;
            Stop::Value(format!("`{}` is no integer of {bits} bits that fits here", shortened(&text)))
        })
    }

    fn double(&mut self) -> Result<f64, Stop> {
        let text = self.number_text()?;
        match &*text {
            "NaN" => return Ok(f64::NAN),
            "Infinity" => return Ok(f64::INFINITY),
            "-Infinity" => return Ok(f64::NEG_INFINITY),
            _ => {}
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(Stop::Value(format!("`{}` is no double", shortened(&text)))),
        }
    }

    fn enumeration(&mut self, names: &'static [&'static str]) -> Result<i32, Stop> {
        if self.cursor.kind()? == json::Kind::Number {
            return self.integer();
        }
        let text = self.text()?;
        let known = names.iter().position(|name| *name == text).and_then(|at| i32::try_from(at).ok());
        known.or_else(|| text.parse().ok()).ok_or_else(|| {
            Stop::Value(format!(
                "`{}` is no value: write an integer from 0 to {}",
                shortened(&text),
                names.len() - 1
            ))
        })
    }

    fn expect(&mut self, expected: json::Kind) -> Result<(), Stop> {
        let found = self.cursor.kind()?;
        if found == expected {
            return Ok(());
        }
        Err(Stop::Value(format!("{}, expected {}", found.name(), expected.name())))
    }

    fn place(&self) -> String {
        let mut place = String::new();
        for step in &self.path {
            match step {
                Step::Name(name) if place.is_empty() => place.push_str(name),
                Step::Name(name) => write!(place, ".{name}").unwrap_or_default(),
                Step::Index(index) => write!(place, "[{index}]").unwrap_or_default(),
            }
        }
        place
    }

    fn describe(&self, problem: &str) -> String {
        let place = self.place();
        if place.is_empty() { format!("the request is {problem}") } else { format!("{place}: {problem}") }
    }
}

/// Text from outside within an error message: printable and short.
fn shortened(text: &str) -> String {
    let kept: String = text.chars().take(40).flat_map(char::escape_default).collect();
    if text.chars().nth(40).is_some() { kept + "…" } else { kept }
}
