//! Which files match: globs to paths, by walking the folders they name.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::config::FileSettings;

/// How deep `**` is followed.
const DEPTH_MAX: usize = 32;
/// Endings of files whose content is compressed in a way that is not read.
const COMPRESSED: [&str; 6] = ["zst", "bz2", "xz", "lz4", "zip", "Z"];

/// The globs of one `[files.NAME]` table.
#[derive(Debug)]
pub(crate) struct Globs {
    roots: Vec<(PathBuf, usize)>,
    include: GlobSet,
    exclude: GlobSet,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Matching files.
    pub(crate) files: BTreeSet<PathBuf>,
    /// Matching links.
    pub(crate) links: BTreeSet<PathBuf>,
    /// Matching files and unreadable folders that are left out, and why.
    pub(crate) left_out: Vec<(PathBuf, String)>,
    /// Folders that were read, to be watched.
    pub(crate) folders: BTreeSet<PathBuf>,
}

impl Found {
    /// All matching paths, links last: a file that matches by its own name has that name.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().chain(&self.links)
    }
}

impl Globs {
    /// Compiles the globs; they were checked when the configuration was read.
    pub(crate) fn new(settings: &FileSettings) -> Result<Self, globset::Error> {
        Ok(Self {
            roots: settings.include.iter().map(|glob| root_of(glob)).collect(),
            include: compile(&settings.include)?,
            exclude: compile(&settings.exclude)?,
        })
    }

    /// Whether a path is included and not excluded.
    pub(crate) fn is_match(&self, path: &Path) -> bool {
        let is_excluded =
            self.exclude.is_match(path) || path.file_name().is_some_and(|name| self.exclude.is_match(name));
        self.include.is_match(path) && !is_excluded
    }

    /// Walks the folders.
    pub(crate) fn find(&self) -> Found {
        let mut found = Found::default();
        for (root, depth) in &self.roots {
            self.walk(root, *depth, &mut found);
        }
        found
    }

    fn walk(&self, path: &Path, depth: usize, found: &mut Found) {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return self.offer(path, found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                return found.left_out.push((path.to_path_buf(), format!("cannot read the folder: {error}")));
            }
        };
        found.folders.insert(path.to_path_buf());
        for entry in entries.flatten() {
            let child = entry.path();
            match entry.file_type() {
                // Links to folders are not followed, so a walk always ends.
                Ok(kind) if kind.is_dir() => {
                    if depth > 1 {
                        self.walk(&child, depth - 1, found);
                    }
                }
                Ok(kind) => {
                    self.offer(&child, found);
                    if kind.is_symlink() && self.include.is_match(&child) {
                        found.folders.extend(folder_behind(&child));
                        found.links.extend(found.files.take(&child));
                    }
                }
                Err(_) => {}
            }
        }
    }

    fn offer(&self, path: &Path, found: &mut Found) {
        if !self.include.is_match(path) {
            return;
        }
        let leave_out = |reason: &str| (path.to_path_buf(), reason.to_owned());
        let is_excluded =
            self.exclude.is_match(path) || path.file_name().is_some_and(|name| self.exclude.is_match(name));
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if is_excluded {
            found.left_out.push(leave_out("excluded by the configuration"));
        } else if COMPRESSED.contains(&ending) {
            found.left_out.push(leave_out("compressed; only gzip is read"));
        } else {
            found.files.insert(path.to_path_buf());
        }
    }
}

/// The folder of the file that a link points to: what is written there is seen there.
fn folder_behind(link: &Path) -> Option<PathBuf> {
    let target = std::fs::canonicalize(link).ok().filter(|target| target.is_file())?;
    target.parent().map(Path::to_path_buf)
}

fn compile(globs: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(GlobBuilder::new(glob).literal_separator(true).build()?);
    }
    set.build()
}

/// The folder a glob begins in, and how many levels below it can match.
fn root_of(glob: &str) -> (PathBuf, usize) {
    let parts: Vec<&str> = glob.split('/').collect();
    let is_literal = |part: &&str| !part.contains(['*', '?', '[', '{', '\\']);
    // The last part names files, whatever it holds.
    let literal = parts.iter().take(parts.len() - 1).take_while(|part| is_literal(part)).count();
    let root = parts[..literal].join("/");
    let root = match (literal, root.as_str()) {
        (0, _) => PathBuf::from("."),
        (_, "") => PathBuf::from("/"),
        _ => PathBuf::from(root),
    };
    let depth = if glob.contains("**") { DEPTH_MAX } else { parts.len() - literal };
    (root, depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_begins_at_the_last_folder_without_wildcards() {
        assert_eq!(root_of("/var/log/shop/*.log"), (PathBuf::from("/var/log/shop"), 1));
        assert_eq!(root_of("/var/*/app/a.log"), (PathBuf::from("/var"), 3));
        assert_eq!(root_of("/var/**/a.log"), (PathBuf::from("/var"), DEPTH_MAX));
        assert_eq!(root_of("*.log"), (PathBuf::from("."), 1));
        assert_eq!(root_of("/a.log"), (PathBuf::from("/"), 1));
    }

    #[test]
    fn matching_files_are_found_and_the_others_are_explained() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path();
        std::fs::create_dir_all(root.join("a/b")).expect("folders");
        for name in ["x.log", "x.tmp.log", "x.log.gz", "x.log.zst", "y.txt", "a/z.log", "a/b/deep.log"] {
            std::fs::write(root.join(name), "line\n").expect("file");
        }
        let settings = |include: &[&str]| -> FileSettings {
            let include: Vec<_> = include.iter().map(|glob| root.join(glob).display().to_string()).collect();
            toml::from_str(&format!("include = {include:?}\nexclude = [\"*.tmp.log\"]")).expect("valid")
        };
        let names = |found: &Found| -> Vec<String> {
            found
                .files
                .iter()
                .map(|path| path.strip_prefix(root).expect("inside").display().to_string())
                .collect()
        };
        let flat = Globs::new(&settings(&["*.log*"])).expect("globs").find();
        assert_eq!(names(&flat), ["x.log", "x.log.gz"]);
        let mut reasons: Vec<_> = flat.left_out.iter().map(|(_, reason)| reason.as_str()).collect();
        reasons.sort_unstable();
        assert_eq!(reasons, ["compressed; only gzip is read", "excluded by the configuration"]);
        let deep = Globs::new(&settings(&["**/*.log"])).expect("globs").find();
        assert_eq!(names(&deep), ["a/b/deep.log", "a/z.log", "x.log"]);
    }
}
