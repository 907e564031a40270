//! Texts with units in settings: `10s`, `64MiB`.

/// Durations as `200ms`, `10s`, `5m`.
pub(crate) mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = duration.as_millis();
        match millis {
            0 => serializer.serialize_str("0s"),
            _ if millis % 60_000 == 0 => serializer.collect_str(&format_args!("{}m", millis / 60_000)),
            _ if millis % 1_000 == 0 => serializer.collect_str(&format_args!("{}s", millis / 1_000)),
            _ => serializer.collect_str(&format_args!("{millis}ms")),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        model::time::parse_duration(&text).map_err(D::Error::custom)
    }
}

/// Sizes as `512B`, `64KiB`, `16MiB`, `1GiB`.
pub(crate) mod size {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    const UNITS: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

    pub(crate) fn serialize<S: Serializer>(bytes: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        let fitting = UNITS.into_iter().find(|(_, unit)| *bytes >= *unit && bytes % unit == 0);
        let (name, unit) = fitting.unwrap_or(("B", 1));
        serializer.collect_str(&format_args!("{}{name}", bytes / unit))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is no size: write a number and a unit, as in 64KiB, 16MiB or 1GiB"
            ))
        })
    }

    fn parse(text: &str) -> Option<usize> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let unit = text[digits..].trim_start();
        let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        text[..digits].parse::<usize>().ok()?.checked_mul(factor)
    }
}
