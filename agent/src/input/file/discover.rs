//! Which files match: globs to paths, by walking the folders they name.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use model::text::nearest;

use crate::config::FileSettings;

/// How deep `**` is followed.
const DEPTH_MAX: usize = 32;
/// Endings of files whose content is compressed in a way that is not read.
const COMPRESSED: [&str; 6] = ["zst", "bz2", "xz", "lz4", "zip", "Z"];

/// Names of a folder among which the one that may be meant is looked for.
const NAMES_MAX: usize = 1000;
/// How the reason of a glob without files begins.
pub(crate) const NOTHING: &str = "no file matches";
/// Said of a link to a folder below which the globs may match.
const FOLDER_LINK: &str = "a link to a folder, which is not followed: name its target in `include`";

/// The globs of one `[files.NAME]` table.
#[derive(Debug)]
pub(crate) struct Globs {
    roots: Vec<Root>,
    include: GlobSet,
    exclude: GlobSet,
}

/// Where the walk of one glob begins.
#[derive(Debug)]
struct Root {
    folder: PathBuf,
    /// How many levels below it can match.
    depth: usize,
    glob: GlobMatcher,
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

    /// Whether anything was found for a glob, or said about its folder.
    fn has_any_of(&self, root: &Root) -> bool {
        let below = |paths: &BTreeSet<PathBuf>| {
            let paths = paths.range(root.folder.clone()..);
            paths.take_while(|path| path.starts_with(&root.folder)).any(|path| root.glob.is_match(path))
        };
        let is_told = |(path, _): &(PathBuf, String)| *path == root.folder || root.glob.is_match(path);
        below(&self.files) || below(&self.links) || self.left_out.iter().any(is_told)
    }
}

impl Globs {
    /// Compiles the globs; they were checked when the configuration was read.
    pub(crate) fn new(settings: &FileSettings) -> Result<Self, globset::Error> {
        Ok(Self {
            roots: settings.include.iter().map(|glob| Root::of(glob)).collect::<Result<_, _>>()?,
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
        for root in &self.roots {
            self.walk(&root.folder, root.depth, &mut found);
        }
        for root in &self.roots {
            if !found.has_any_of(root) {
                found.left_out.push((PathBuf::from(root.glob.glob().glob()), why_nothing(&root.folder)));
            }
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
                Ok(kind) if kind.is_dir() => {
                    if depth > 1 {
                        self.walk(&child, depth - 1, found);
                    }
                }
                // Links to folders are not followed, so a walk always ends.
                Ok(kind) if kind.is_symlink() && depth > 1 && child.is_dir() => {
                    found.left_out.push((child, FOLDER_LINK.to_owned()));
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
        set.add(compile_one(glob)?);
    }
    set.build()
}

fn compile_one(glob: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(glob).literal_separator(true).build()
}

impl Root {
    fn of(glob: &str) -> Result<Self, globset::Error> {
        let (folder, depth) = root_of(glob);
        Ok(Self { folder, depth, glob: compile_one(glob)?.compile_matcher() })
    }
}

/// Why a glob that begins in `folder` finds nothing: the first folder of its path that is not there, with the name that
/// may be meant.
fn why_nothing(folder: &Path) -> String {
    let missing = folder.ancestors().take_while(|folder| !folder.exists()).last();
    let Some(missing) = missing else { return NOTHING.to_owned() };
    let entries = missing.parent().map(std::fs::read_dir).into_iter().flatten().flatten().flatten();
    let names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).take(NAMES_MAX).collect();
    let name = missing.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let hint = nearest(name, names.iter().map(String::as_str));
    let hint = hint.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default();
    format!("{NOTHING}: there is no folder `{}`{hint}", missing.display())
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
    #[test]
    fn a_glob_without_files_says_which_folder_is_not_there_and_which_may_be_meant() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path();
        std::fs::create_dir_all(root.join("shop/data")).expect("folders");
        std::fs::write(root.join("shop/a.log"), "line\n").expect("file");
        std::os::unix::fs::symlink(root.join("shop/data"), root.join("shop/linked")).expect("link");
        let said = |glob: &str| -> Vec<String> {
            let include =
                [root.join("shop/*.log").display().to_string(), root.join(glob).display().to_string()];
            let settings: FileSettings = toml::from_str(&format!("include = {include:?}")).expect("valid");
            let found = Globs::new(&settings).expect("globs").find();
            assert_eq!(found.files.len(), 1, "the other glob is not disturbed");
            found.left_out.into_iter().map(|(_, reason)| reason).collect()
        };
        assert_eq!(said("shop/a*"), [""; 0], "the first one found it already");
        assert_eq!(said("shop/*.txt"), ["no file matches"]);
        let missing = root.join("shpo").display().to_string();
        assert_eq!(
            said("shpo/logs/*.log"),
            [format!("no file matches: there is no folder `{missing}`, did you mean `shop`?")]
        );
        assert_eq!(said("shop/*/*.log"), [FOLDER_LINK, "no file matches"]);
    }
}
