//! The headers of `docs/formats/positions.md`: read from requests, written to answers, over HTTP and
//! gRPC alike.
//!
//! Does not own: what the store decides about positions, the bytes inside the base64 (`model::positions`).

use std::fmt::Display;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::positions::{
    AGENT_HEADER, AgentId, BATCH_HEADER, COMMITTED_HEADER, KNOWN_HEADER, MESSAGE_BYTES_MAX, POSITIONS_HEADER,
    REFUSED_HEADER, SESSION_HEADER, StreamId, decode, encode_committed,
};
use storage::{AgentOrigin, PositionRefusal};

use crate::pipeline::Receipt;
use crate::status::{Reason, Refusal};

/// Writes padding, reads with and without: gRPC leaves it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where the records of a request came from; `None` when it does not say.
pub(crate) fn origin(headers: &HeaderMap) -> Result<Option<AgentOrigin>, Refusal> {
    let Some(positions) = headers.get(POSITIONS_HEADER) else { return Ok(None) };
    let required = |name| {
        let value =
            headers.get(name).ok_or_else(|| wrong(name, "it goes with the positions, and is missing"))?;
        value.to_str().map_err(|error| wrong(name, error))
    };
    let agent = required(AGENT_HEADER)?;
    let agent = AgentId::parse(agent).ok_or_else(|| wrong(AGENT_HEADER, "not a UUID"))?;
    let session = required(SESSION_HEADER)?.parse().map_err(|error| wrong(SESSION_HEADER, error))?;
    if let Some(batch) = headers.get(BATCH_HEADER) {
        let batch = batch.to_str().ok().and_then(|text| text.parse::<u64>().ok());
        batch.ok_or_else(|| wrong(BATCH_HEADER, "not a number"))?;
    }
    // Four characters for three bytes, and padding.
    let characters = positions.len();
    if characters > MESSAGE_BYTES_MAX.div_ceil(3) * 4 {
        let problem =
            format!("{characters} characters hold more than {MESSAGE_BYTES_MAX} bytes: send smaller batches");
        return Err(wrong(POSITIONS_HEADER, problem));
    }
    let message = BASE64.decode(positions).map_err(|error| wrong(POSITIONS_HEADER, error))?;
    let ranges = decode(&message).map_err(|error| wrong(POSITIONS_HEADER, error))?;
    Ok(Some(AgentOrigin { agent, session, ranges }))
}

fn wrong(header: &str, problem: impl Display) -> Refusal {
    Refusal::new(Reason::Malformed, format!("header `{header}`: {problem}"))
}

/// Says where the streams of a request stand now, and how many of its records were known before.
pub(crate) fn put_answer(receipt: &Receipt, headers: &mut HeaderMap) {
    put_committed(&receipt.committed, headers);
    if receipt.known > 0 {
        put(headers, KNOWN_HEADER, &receipt.known.to_string());
    }
}

fn put_committed(committed: &[(StreamId, Option<u64>)], headers: &mut HeaderMap) {
    if !committed.is_empty() {
        put(headers, COMMITTED_HEADER, &BASE64.encode(encode_committed(committed)));
    }
}

/// Says what does not fit, and where to go on.
pub(crate) fn put_refusal(refusal: &PositionRefusal, headers: &mut HeaderMap) {
    put(headers, REFUSED_HEADER, refusal.mismatch.name());
    put(headers, SESSION_HEADER, &refusal.session.to_string());
    put_committed(&refusal.committed, headers);
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("a word, digits or base64");
    headers.insert(HeaderName::from_static(name), value);
}

#[cfg(test)]
mod tests {
    use model::positions::{Range, encode};
    use proptest::prelude::*;

    use super::*;

    const AGENT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    /// The first example of the format page.
    const EXAMPLE: &str = "CiAKEAARIjNEVWZ3iJmqu8zd7v8Q6AcY+AogAzIEeFDIAQ==";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("printable"))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn the_example_of_the_format_page_is_read_with_and_without_padding() {
        for positions in [EXAMPLE, EXAMPLE.trim_end_matches('=')] {
            let fields = [
                (AGENT_HEADER, AGENT),
                (SESSION_HEADER, "42"),
                (BATCH_HEADER, "9"),
                (POSITIONS_HEADER, positions),
            ];
            let origin = origin(&headers(&fields)).expect("sound").expect("positioned");
            assert_eq!((origin.agent.to_string().as_str(), origin.session), (AGENT, 42));
            assert_eq!(origin.ranges[0].ends, [1_120, 1_200, 1_400]);
        }
        assert_eq!(origin(&headers(&[(AGENT_HEADER, AGENT)])).expect("sound"), None);
    }

    #[test]
    fn a_header_that_is_missing_or_wrong_is_named() {
        let all =
            [(AGENT_HEADER, AGENT), (SESSION_HEADER, "42"), (POSITIONS_HEADER, EXAMPLE), (BATCH_HEADER, "9")];
        for missing in [0, 1] {
            let mut fields = all.to_vec();
            let (name, _) = fields.remove(missing);
            let refusal = origin(&headers(&fields)).expect_err("incomplete");
            assert!(refusal.message.contains(name), "{}", refusal.message);
        }
        for (at, (name, _)) in all.iter().enumerate() {
            for value in ["-1", "x", "0x1", "99999999999999999999999", "ä"] {
                let mut fields = all.to_vec();
                fields[at].1 = value;
                let refusal = origin(&headers(&fields)).expect_err("wrong");
                assert!(refusal.message.contains(name), "{}", refusal.message);
                assert_eq!(refusal.reason, Reason::Malformed);
            }
        }
        let many: Vec<Range> = (0..900).map(|at| Range::new(StreamId([1; 16]), at, at + 1, 1)).collect();
        let large = BASE64.encode(encode(&many));
        let fields = [all[0], all[1], (POSITIONS_HEADER, large.as_str())];
        assert!(origin(&headers(&fields)).expect_err("too large").message.contains("smaller batches"));
    }

    proptest! {
        #[test]
        fn any_header_ends_without_panic(
            agent in "[ -~]{0,40}", session in "[0-9a-z]{0,25}", positions in "[ -~]{0,200}",
        ) {
            let fields = [
                (AGENT_HEADER, agent.as_str()), (SESSION_HEADER, &session), (POSITIONS_HEADER, &positions),
            ];
            let _ = origin(&headers(&fields));
            let _ = origin(&headers(&[(AGENT_HEADER, AGENT), (SESSION_HEADER, "1"), (POSITIONS_HEADER, &positions)]));
        }
    }
}
