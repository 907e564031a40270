//! Texts with units: `200ms`, `1GiB`.

use std::time::Duration;

use model::units::parse_size;
use serde::{Deserialize, Deserializer, de::Error as _};

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    model::time::parse_duration(&text).map_err(D::Error::custom)
}

pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_size(&text).map_err(D::Error::custom)
}
