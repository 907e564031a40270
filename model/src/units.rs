//! Values with units in settings: durations as `200ms`, `10s`, `5m`, sizes as `64KiB`, `1GiB`.
//!
//! The modules are for serde's `with = "…"`.

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads `64KiB`, `1GiB`, `10MB`, `512B`: a whole number and a unit, of 1024 (`KiB MiB GiB TiB`) or 1000
/// (`KB MB GB TB`).
///
/// # Errors
/// Says which text is no size and shows one that is.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let parse = || {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let unit = text[digits..].trim_start();
        let (_, factor) = SIZES.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        text[..digits].parse::<u64>().ok()?.checked_mul(factor)
    };
    parse()
        .ok_or_else(|| format!("`{text}` is no size: write a number and a unit, as in 64KiB, 16MiB or 1GiB"))
}

/// Durations as `200ms`, `10s`, `5m`.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    /// Writes the largest unit that gives a whole number, from milliseconds to minutes.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = duration.as_millis();
        match millis {
            0 => serializer.serialize_str("0s"),
            _ if millis.is_multiple_of(60_000) => {
                serializer.collect_str(&format_args!("{}m", millis / 60_000))
            }
            _ if millis.is_multiple_of(1_000) => serializer.collect_str(&format_args!("{}s", millis / 1_000)),
            _ => serializer.collect_str(&format_args!("{millis}ms")),
        }
    }

    /// Reads what [`crate::time::parse_duration`] reads.
    ///
    /// # Errors
    /// For a text that is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        crate::time::parse_duration(&text).map_err(D::Error::custom)
    }
}

/// Sizes in bytes as `512B`, `64KiB`, `16MiB`, `1GiB`, for any unsigned integer type.
pub mod size {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    /// Writes the largest unit of 1024 that gives a whole number.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Copy + TryInto<u64>, S: Serializer>(
        bytes: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let bytes: u64 = (*bytes).try_into().unwrap_or(u64::MAX);
        let binary = super::SIZES.into_iter().filter(|(name, _)| name.len() != 2);
        let fitting = binary.into_iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
        let (name, unit) = fitting.unwrap_or(("B", 1));
        serializer.collect_str(&format_args!("{}{name}", bytes / unit))
    }

    /// Reads what [`super::parse_size`] reads.
    ///
    /// # Errors
    /// For a text that is no size, or one too large for the type.
    pub fn deserialize<'de, T: TryFrom<u64>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = super::parse_size(&text).map_err(D::Error::custom)?;
        T::try_from(bytes).map_err(|_| D::Error::custom(format!("`{text}` is too large")))
    }
}

/// [`duration`] for settings that may be absent.
pub mod optional_duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// As [`super::duration::serialize`]; nothing for `None`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::duration::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// As [`super::duration::deserialize`].
    ///
    /// # Errors
    /// For a text that is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        #[derive(Deserialize)]
        struct Wrapped(#[serde(with = "super::duration")] Duration);
        Ok(Option::<Wrapped>::deserialize(deserializer)?.map(|wrapped| wrapped.0))
    }
}

/// A size that may be left out, as [`size`].
pub mod optional_size {
    use serde::{Deserializer, Serializer};

    /// As [`super::size::serialize`]; nothing for `None`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Copy + TryInto<u64>, S: Serializer>(
        bytes: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => super::size::serialize(bytes, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// As [`super::size::deserialize`]. A field that may be missing also needs serde's `default`.
    ///
    /// # Errors
    /// For a text that is no size, or one too large for the type.
    pub fn deserialize<'de, T: TryFrom<u64>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        super::size::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_with_units_of_1024_and_1000_and_refuse_a_bare_number() {
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("10 MB"), Ok(10_000_000));
        for wrong in ["", "64", "KiB", "1.5GiB", "99999999999TiB", "-1B"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
