//! A file with the keys of an object store, in the form of `~/.aws/credentials`.
//!
//! Invariant: a secret is shown by no error and no debug output.

use std::path::Path;

use crate::error::{Context as _, Error, ErrorKind};

/// The keys of one profile.
pub(super) struct Credentials {
    pub(super) key: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

/// Reads the first profile of the file.
///
/// # Errors
/// `FixInput` when it cannot be read or has no keys.
pub(super) fn load(file: &Path) -> Result<Credentials, Error> {
    let doing = || format!("reading the credentials `{}`", file.display());
    let text = std::fs::read_to_string(file).context(ErrorKind::FixInput, doing)?;
    parse(&text).ok_or_else(|| {
        let text = format!(
            "`{}` has no keys: write `aws_access_key_id = …` and `aws_secret_access_key = …` into it, a line each",
            file.display()
        );
        Error::new(ErrorKind::FixInput, text)
    })
}

fn parse(text: &str) -> Option<Credentials> {
    let (mut key, mut secret, mut token) = (None, None, None);
    let mut profiles = 0;
    for line in text.lines().map(str::trim) {
        profiles += usize::from(line.starts_with('['));
        if profiles > 1 {
            break;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        match name.trim() {
            "aws_access_key_id" => key = value,
            "aws_secret_access_key" => secret = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    Some(Credentials { key: key?, secret: secret?, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_profile_counts_and_a_file_without_keys_is_refused() {
        let text = "# ours\n[default]\naws_access_key_id = AK\naws_secret_access_key=S/K=\n\n[other]\naws_access_key_id = no\n";
        let found = parse(text).expect("both keys");
        assert_eq!((&*found.key, &*found.secret, found.token), ("AK", "S/K=", None));
        for wrong in
            ["", "aws_access_key_id = AK", "[a]\naws_access_key_id = AK\n[b]\naws_secret_access_key = SK"]
        {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
        let error = load(Path::new("/no/such/file")).err().expect("not there");
        assert!(error.to_string().contains("/no/such/file"), "{error}");
    }
}
