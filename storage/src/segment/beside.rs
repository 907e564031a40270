//! An index beside the rows of a segment: there, to be fetched, or not there at all.
//!
//! Invariants: no panic inside tantivy leaves [`Beside::ask`]; a damaged index is not asked again, one that cannot be fetched
//! just now is; the copy of a fetched index that turns out damaged is dropped and fetched once more.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::SegmentMeta;
use super::home::cache::Holder;
use super::home::source::{Copies, Index, WantedFiles, WantedPart, touch, wanted};
use crate::error::{Context as _, Error, ErrorKind};
use crate::text::caught;

/// An index beside the rows.
#[derive(Debug)]
pub(crate) struct Beside<T> {
    index: Held<T>,
    is_damaged: AtomicBool,
    /// There is one that this program does not read.
    is_outdated: bool,
}

#[derive(Debug)]
enum Held<T> {
    None,
    Open(T),
    Fetched(Arc<Fetched<T>>),
}

/// An index that is fetched when it is asked.
pub(super) struct Fetched<T> {
    dir: PathBuf,
    wanted: WantedFiles,
    copies: Copies,
    open: Open<T>,
    opened: Mutex<Option<Arc<T>>>,
}

/// Opens the index in a folder.
type Open<T> = Box<dyn Fn(&Path) -> Result<T, Error> + Send + Sync>;

impl<T> std::fmt::Debug for Fetched<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl<T: Send + Sync> Holder for Fetched<T> {
    fn let_go(&self) {
        *self.slot() = None;
    }
}

impl<T> Fetched<T> {
    fn slot(&self) -> MutexGuard<'_, Option<Arc<T>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + Sync + 'static> Fetched<T> {
    /// The index, fetched if it is not there; `None` when the segment has none.
    fn get(self: &Arc<Self>) -> Result<Option<Arc<T>>, Error> {
        let mut slot = self.slot();
        // Evicted by another process, or while this one did not look.
        if let Some(index) = &*slot
            && self.dir.is_dir()
        {
            touch(&self.dir);
            return Ok(Some(Arc::clone(index)));
        }
        *slot = None;
        // Nobody may take the slot's lock while something is evicted to make room.
        drop(slot);
        let doing = || format!("fetching `{}`", self.dir.display());
        let kind = |error: &std::io::Error| match error.kind() {
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::NotFound => ErrorKind::Damaged,
            _ => ErrorKind::Retry,
        };
        if let Err(error) = self.copies.fetch.fetch(&self.wanted) {
            let kind = kind(&error);
            return Err(error).context(kind, doing);
        }
        let mut entries = std::fs::read_dir(&self.dir).context(ErrorKind::Retry, doing)?;
        if entries.next().is_none() {
            return Ok(None);
        }
        let index = Arc::new((self.open)(&self.dir)?);
        if let Some(cache) = &self.copies.cache {
            let holder: Weak<dyn Holder> = Arc::<Self>::downgrade(self);
            cache.hold(&self.dir, holder);
        }
        *self.slot() = Some(Arc::clone(&index));
        Ok(Some(index))
    }

    /// Drops the copy, because it is not what was written.
    fn forget(&self) {
        self.let_go();
        // If it cannot be removed it is found damaged again.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl<T: Send + Sync + 'static> Beside<T> {
    fn new(index: Held<T>, is_damaged: bool) -> Self {
        Self { index, is_damaged: AtomicBool::new(is_damaged), is_outdated: false }
    }

    /// There is no index.
    pub(super) fn none() -> Self {
        Self::new(Held::None, false)
    }

    /// There is one that this program does not read.
    pub(super) fn outdated() -> Self {
        Self { is_outdated: true, ..Self::none() }
    }

    /// The index that was opened, or could not be.
    pub(super) fn opened(opened: Result<T, Error>) -> Self {
        match opened {
            Ok(index) => Self::new(Held::Open(index), false),
            Err(error) => {
                tracing::error!("{error}: rows are searched without it");
                Self::new(Held::None, true)
            }
        }
    }

    /// The index is fetched when it is asked.
    pub(super) fn fetched(
        copies: &Copies,
        meta: &SegmentMeta,
        index: Index,
        open: impl Fn(&Path) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Self {
        let fetched = Fetched {
            dir: copies.root.join(meta.path()).join(index.folder()),
            wanted: wanted(meta, WantedPart::Index(index)),
            copies: copies.clone(),
            open: Box::new(open),
            opened: Mutex::new(None),
        };
        Self::new(Held::Fetched(Arc::new(fetched)), false)
    }

    /// Whether rows have to be read in its place.
    pub(super) fn is_missing(&self) -> bool {
        self.is_outdated || self.is_damaged()
    }

    /// Whether there should be one, and it cannot be used.
    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    /// Whether it says at once what it is asked: it is there, sound and ready.
    pub(super) fn is_at_hand(&self, is_ready: impl Fn(&T) -> bool) -> bool {
        let is_ready = match &self.index {
            Held::None => true,
            Held::Open(index) => is_ready(index),
            Held::Fetched(fetched) => fetched.slot().as_deref().is_some_and(is_ready),
        };
        is_ready && !self.is_missing()
    }

    /// What a sound index says.
    pub(crate) fn ask<R>(&self, ask: impl Fn(&T) -> Result<R, Error>) -> Option<R> {
        if self.is_damaged() {
            return None;
        }
        let answer = match &self.index {
            Held::None => return None,
            Held::Open(index) => caught("reading an index", || ask(index)),
            Held::Fetched(fetched) => match ask_fetched(fetched, &ask) {
                Err(error) if error.kind() == ErrorKind::Damaged => {
                    tracing::warn!("{error}: it is fetched again");
                    fetched.forget();
                    ask_fetched(fetched, &ask).transpose()?
                }
                answer => answer.transpose()?,
            },
        };
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::error!("{error}: rows are searched without it");
                self.is_damaged.store(error.kind() != ErrorKind::Retry, Ordering::Relaxed);
                None
            }
        }
    }
}

fn ask_fetched<T: Send + Sync + 'static, R>(
    fetched: &Arc<Fetched<T>>,
    ask: &impl Fn(&T) -> Result<R, Error>,
) -> Result<Option<R>, Error> {
    let Some(index) = fetched.get()? else { return Ok(None) };
    caught("reading an index", || ask(&index)).map(Some)
}
