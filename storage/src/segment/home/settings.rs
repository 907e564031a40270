//! Where segments are kept, as configuration says it.

use std::path::PathBuf;

use crate::catalog::CatalogHome;
use crate::error::{Error, ErrorKind};

/// Where what a store keeps for good is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Sealed segments.
    pub segments: SegmentHome,
    /// Which segments live, and how far senders have come.
    pub catalog: CatalogHome,
}

/// Where sealed segments are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SegmentHome {
    /// In the data folder.
    #[default]
    Folder,
    /// In an object store; the data folder holds a cache of them.
    Objects(ObjectSettings),
}

/// An object store that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSettings {
    /// Bucket, and what the names of all objects begin with.
    pub bucket: String,
    /// Without slashes around it; may be empty.
    pub prefix: String,
    /// Base URL of the service; `None` for AWS.
    pub endpoint: Option<String>,
    /// Region; `None` for what the environment says.
    pub region: Option<String>,
    /// File with `aws_access_key_id = …` and `aws_secret_access_key = …`; `None` for what the environment and the machine offer.
    pub credentials_file: Option<PathBuf>,
    /// Whether an endpoint without TLS is allowed.
    pub allow_http: bool,
    /// Bytes of the data folder that copies of segments may take.
    pub cache_bytes_max: u64,
}

/// Bytes below which a cache would throw away what it has just fetched.
pub(crate) const CACHE_BYTES_MIN: u64 = 64 << 20;
/// Bytes of the cache when nothing is said.
const CACHE_BYTES: u64 = 10 << 30;

impl ObjectSettings {
    /// The defaults for `s3://BUCKET/PREFIX`.
    ///
    /// # Errors
    /// `FixInput` for another scheme or without a bucket.
    pub fn new(url: &str) -> Result<Self, Error> {
        let refused = || {
            Error::new(
                ErrorKind::FixInput,
                format!("`{url}` is no place for segments: write `s3://BUCKET` or `s3://BUCKET/PREFIX`"),
            )
        };
        let place = url.strip_prefix("s3://").ok_or_else(refused)?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.trim_matches('/');
        let is_plain =
            |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['?', '#']);
        if !is_plain(bucket) || !(prefix.is_empty() || prefix.split('/').all(is_plain)) {
            return Err(refused());
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: None,
            region: None,
            credentials_file: None,
            allow_http: false,
            cache_bytes_max: CACHE_BYTES,
        })
    }

    /// Whether it can work, before anything is asked of it.
    ///
    /// # Errors
    /// `FixInput` with what would be right.
    pub fn check(&self) -> Result<(), Error> {
        let refused = |problem: String| Err(Error::new(ErrorKind::FixInput, problem));
        if let Some(endpoint) = &self.endpoint {
            match endpoint.split_once("://") {
                Some(("https", _)) => {}
                Some(("http", _)) if self.allow_http => {}
                Some(("http", _)) => {
                    return refused(format!(
                        "`{endpoint}` sends everything unencrypted: use https, or set allow_http = true if the network is trusted"
                    ));
                }
                _ => return refused(format!("the endpoint `{endpoint}` is no URL: write https://HOST:PORT")),
            }
        }
        if self.cache_bytes_max < CACHE_BYTES_MIN {
            return refused(format!(
                "a cache of {} bytes is too small to work with: {CACHE_BYTES_MIN} (64MiB) at least",
                self.cache_bytes_max
            ));
        }
        Ok(())
    }

    /// What people call it.
    pub(crate) fn url(&self) -> String {
        match &*self.prefix {
            "" => format!("s3://{}", self.bucket),
            prefix => format!("s3://{}/{prefix}", self.bucket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_bucket_and_prefix_and_others_are_refused_with_what_would_be_right() {
        let named =
            |url: &str| ObjectSettings::new(url).map(|of| (of.bucket.clone(), of.prefix.clone(), of.url()));
        let of =
            |bucket: &str, prefix: &str, url: &str| (bucket.to_owned(), prefix.to_owned(), url.to_owned());
        assert_eq!(named("s3://b").expect("a bucket"), of("b", "", "s3://b"));
        assert_eq!(named("s3://b/").expect("a bucket"), of("b", "", "s3://b"));
        assert_eq!(named("s3://b/one/two/").expect("a prefix"), of("b", "one/two", "s3://b/one/two"));
        for wrong in ["", "s3://", "s3:///prefix", "gs://b", "/folder", "s3://b/../c", "s3://b?x=1"] {
            let error = ObjectSettings::new(wrong).expect_err(wrong);
            assert!(error.to_string().contains("s3://BUCKET"), "{error}");
        }
    }

    #[test]
    fn plain_http_needs_a_word_and_a_cache_needs_room() {
        let mut settings = ObjectSettings::new("s3://b").expect("a bucket");
        settings.check().expect("AWS");
        settings.endpoint = Some("http://127.0.0.1:9000".to_owned());
        assert!(settings.check().expect_err("plain").to_string().contains("allow_http"));
        settings.allow_http = true;
        settings.check().expect("allowed");
        settings.cache_bytes_max = 1 << 20;
        assert!(settings.check().expect_err("small").to_string().contains("64MiB"));
    }
}
