//! How large a folder is.

use std::io;
use std::path::Path;

/// Bytes of a file, or of all files below a folder, also while others write there: what is gone counts nothing.
///
/// # Errors
/// When a folder that is there cannot be read.
pub fn bytes_below(path: &Path) -> io::Result<u64> {
    match count(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        counted => counted,
    }
}

fn count(path: &Path) -> io::Result<u64> {
    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    std::fs::read_dir(path)?.map(|entry| bytes_below(&entry?.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_folders_count_and_what_is_not_there_counts_nothing() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let below = bytes_below(&source.join("src")).expect("readable");
        let files = ["lib.rs", "process.rs", "folder.rs"].map(|name| source.join("src").join(name));
        let each = files.map(|file| bytes_below(&file).expect("readable"));
        assert_eq!(below, each.iter().sum::<u64>());
        assert!(bytes_below(source).expect("readable") > below);
        assert_eq!(bytes_below(&source.join("no such folder")).expect("nothing"), 0);
    }
}
