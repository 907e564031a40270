//! An object store that keeps segments, asked from threads that may block.
//!
//! ```text
//! PREFIX/store.json                                  whose segments these are
//! PREFIX/segments/<table>/<name>/data.parquet, …     as in a data folder; data.parquet is put last
//!
//! any thread ─ block(future) ─► threads of its own ─ HTTP ─► S3
//!        ▲                             │
//!        └── answer, or at once: away ◄┴─ no answer: not asked again for 1 s, 2 s, … 30 s
//! ```
//!
//! Owns: requests, their retries, when the store counts as away. Does not own: which segments live (`catalog`), copies
//! on the local disk (`cache`).
//!
//! Invariants: nothing is put before the store is known to hold no other catalog's segments; while it is away nobody waits
//! for it; nothing that it answers panics.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use model::Signal;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt as _, PutMode, RetryConfig, WriteMultipart,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::credentials;
use super::settings::ObjectSettings;
use crate::error::{Context as _, Error, ErrorKind};
use crate::segment::SegmentMeta;

/// Threads that talk to the object store; most of their time they wait.
const THREADS: usize = 2;
/// Requests for one segment at a time.
const PARALLEL: usize = 4;
/// Larger files are put in parts of so many bytes.
const PART_BYTES: usize = 8 << 20;
const CONNECT_MAX: Duration = Duration::from_secs(3);
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// How long one request is tried again.
const RETRY_MAX: Duration = Duration::from_secs(5);
const RETRIES: usize = 3;
/// How long the store is not asked after it did not answer: doubled each time.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Whose segments these are.
const OWNER: &str = "store.json";

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Store(#[from] object_store::Error),
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// Whose segments an object store holds.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    store: String,
}

/// What is to be known before the first segment is put.
#[derive(Debug)]
struct Claim {
    identity: String,
    /// A segment that the catalog names: it is there, or this is the wrong place.
    sample: Option<SegmentMeta>,
}

#[derive(Debug, Default)]
struct Away {
    failures: u32,
    until: Option<Instant>,
}

/// An object store.
#[derive(Debug)]
pub(crate) struct Objects {
    url: String,
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    away: Mutex<Away>,
    claim: Mutex<Option<Claim>>,
    /// `None` while it is dropped.
    runtime: Option<Runtime>,
}

impl Drop for Objects {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped where nothing may block.
            runtime.shutdown_background();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Objects {
    /// An object store as configuration describes it. Nothing is asked of it yet.
    ///
    /// # Errors
    /// `FixInput` when the settings or credentials cannot be right.
    pub(crate) fn open(settings: &ObjectSettings) -> Result<Self, Error> {
        settings.check()?;
        let doing = || format!("the object store `{}`", settings.url());
        let client = ClientOptions::new()
            .with_allow_http(settings.allow_http)
            .with_connect_timeout(CONNECT_MAX)
            .with_timeout(REQUEST_MAX);
        let backoff = BackoffConfig { init_backoff: Duration::from_millis(100), ..BackoffConfig::default() };
        let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_MAX };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&settings.bucket)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        if let Some(region) = &settings.region {
            builder = builder.with_region(region);
        }
        if let Some(file) = &settings.credentials_file {
            let found = credentials::load(file)?;
            builder = builder.with_access_key_id(found.key).with_secret_access_key(found.secret);
            if let Some(token) = found.token {
                builder = builder.with_token(token);
            }
        }
        let store = builder.build().context(ErrorKind::FixInput, doing)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("silmari-objects")
            .enable_all()
            .build()
            .context(ErrorKind::Retry, doing)?;
        Ok(Self {
            url: settings.url(),
            store: Arc::new(store),
            prefix: Path::from(&*settings.prefix),
            away: Mutex::default(),
            claim: Mutex::default(),
            runtime: Some(runtime),
        })
    }

    /// Waits for what the object store says. Fails at once while it is away.
    fn block<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> io::Result<T> {
        if let Some(until) = locked(&self.away).until
            && Instant::now() < until
        {
            return Err(self.is_away("it did not answer a moment ago"));
        }
        let Some(runtime) = &self.runtime else { return Err(io::Error::other("the object store is closed")) };
        let (done, result) = sync_channel(1);
        // Whoever waits is below.
        runtime.spawn(async move { drop(done.send(work.await)) });
        match result.recv() {
            Ok(result) => self.judged(result),
            Err(_) => Err(io::Error::other("a request to the object store ended by a defect")),
        }
    }

    fn is_away(&self, why: impl std::fmt::Display) -> io::Error {
        io::Error::new(io::ErrorKind::NotConnected, format!("the object store `{}` is away: {why}", self.url))
    }

    /// Notes whether the store answers, and turns its error into one of ours.
    fn judged<T>(&self, result: Result<T, Failure>) -> io::Result<T> {
        let error = match result {
            Ok(value) => {
                self.answers();
                return Ok(value);
            }
            Err(Failure::Disk(error)) => return Err(error),
            Err(Failure::Store(error)) => error,
        };
        match error {
            object_store::Error::NotFound { path, .. } => {
                self.answers();
                Err(io::Error::new(io::ErrorKind::NotFound, format!("`{path}` is not in `{}`", self.url)))
            }
            error => {
                let mut away = locked(&self.away);
                let pause = PAUSES.0.saturating_mul(1 << away.failures.min(8)).min(PAUSES.1);
                away.failures = away.failures.saturating_add(1);
                away.until = Some(Instant::now() + pause);
                drop(away);
                Err(self.is_away(error))
            }
        }
    }

    fn answers(&self) {
        let mut away = locked(&self.away);
        if away.failures > 0 {
            tracing::info!("the object store `{}` answers again", self.url);
        }
        *away = Away::default();
    }

    /// Says whose segments are to be put here; asked of the store before the first one.
    pub(crate) fn claim(&self, identity: &str, sample: Option<&SegmentMeta>) {
        *locked(&self.claim) = Some(Claim { identity: identity.to_owned(), sample: sample.cloned() });
    }

    /// Whether it did not answer when it was last asked.
    pub(crate) fn is_silent(&self) -> bool {
        locked(&self.away).failures > 0
    }

    /// Whether segments can be put just now. Asks the store only when it was away or never asked before. Blocking.
    ///
    /// # Errors
    /// `NotConnected` when it is away; others when it holds the segments of another catalog.
    pub(crate) fn ready(&self) -> io::Result<()> {
        // Whoever comes second waits for the first.
        let mut claim = locked(&self.claim);
        if let Some(wanted) = &*claim {
            self.take(wanted)?;
            *claim = None;
        } else if self.is_silent() {
            let (store, owner) = (Arc::clone(&self.store), self.at(OWNER));
            self.block(async move { Ok(store.head(&owner).await.map(drop)?) })?;
        }
        Ok(())
    }

    /// Finds out whose segments the store holds; makes it this catalog's if they are nobody's.
    fn take(&self, claim: &Claim) -> io::Result<()> {
        let (store, owner) = (Arc::clone(&self.store), self.at(OWNER));
        let found = self.block({
            let (store, owner) = (Arc::clone(&store), owner.clone());
            async move { Ok(store.get(&owner).await?.bytes().await?) }
        });
        match found {
            Ok(found) => {
                let found: Owner = serde_json::from_slice(&found).map_err(|error| {
                    io::Error::other(format!("`{}/{OWNER}` is damaged: {error}", self.url))
                })?;
                match found.store == claim.identity {
                    true => Ok(()),
                    false => Err(io::Error::other(format!(
                        "`{}` holds the segments of another store ({}, this one is {}): choose another bucket or prefix",
                        self.url, found.store, claim.identity
                    ))),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(sample) = &claim.sample
                    && self.files(sample)?.is_empty()
                {
                    return Err(io::Error::other(format!(
                        "the catalog names segments that are not in `{}`, among them `{}`: copy the folder `segments` of the data \
                         folder there first, or take `segments` out of the configuration",
                        self.url,
                        sample.path()
                    )));
                }
                let text = serde_json::to_vec(&Owner { store: claim.identity.clone() })?;
                self.block(async move {
                    match store.put_opts(&owner, text.clone().into(), PutMode::Create.into()).await {
                        // Stores without conditional writes.
                        Err(object_store::Error::NotImplemented { .. }) => {
                            store.put(&owner, text.into()).await?;
                        }
                        put => drop(put?),
                    }
                    Ok(())
                })
            }
            Err(error) => Err(error),
        }
    }

    /// The place of an object.
    fn at(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.prefix.as_ref()))
    }

    /// Puts all files below `dir` under the segment's name, the rows last. Blocking.
    pub(crate) fn put(&self, dir: &FsPath, meta: &SegmentMeta) -> io::Result<()> {
        let mut files = Vec::new();
        collect(dir, dir, &mut files)?;
        let (rows, others): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(name, _)| name == "data.parquet");
        let (store, below) = (Arc::clone(&self.store), self.at(&meta.path()));
        self.block(async move {
            let put = |(name, file): (String, PathBuf)| {
                let (store, to) = (Arc::clone(&store), Path::from(format!("{below}/{name}")));
                async move { upload(&*store, &to, &file).await }
            };
            let all = futures_util::stream::iter(others.into_iter().map(put)).buffer_unordered(PARALLEL);
            all.try_collect::<()>().await?;
            for rows in rows {
                put(rows).await?;
            }
            Ok(())
        })
    }

    /// The names of all segments of a signal, sorted. Blocking.
    pub(crate) fn segments(&self, signal: Signal) -> io::Result<Vec<String>> {
        let (store, table) = (Arc::clone(&self.store), self.at(&format!("segments/{}", signal.table())));
        let found = self.block(async move { Ok(store.list_with_delimiter(Some(&table)).await?) })?;
        let mut names: Vec<String> =
            found.common_prefixes.iter().filter_map(|of| of.filename().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    /// The files of a segment, names relative to its folder, and their bytes. Blocking.
    pub(crate) fn files(&self, meta: &SegmentMeta) -> io::Result<Vec<(String, u64)>> {
        let (store, below) = (Arc::clone(&self.store), self.at(&meta.path()));
        self.block(async move {
            let listed = store.list(Some(&below));
            let named = listed.map_ok(|object| {
                let parts = object
                    .location
                    .prefix_match(&below)
                    .map(|parts| parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"));
                (parts.unwrap_or_default(), object.size)
            });
            Ok(named.try_collect().await?)
        })
    }

    /// A whole small file of a segment. Blocking.
    pub(crate) fn get(&self, meta: &SegmentMeta, name: &str) -> io::Result<Bytes> {
        let (store, at) = (Arc::clone(&self.store), self.at(&format!("{}/{name}", meta.path())));
        self.block(async move { Ok(store.get(&at).await?.bytes().await?) })
    }

    /// Some bytes of a file of a segment, fewer where it ends. Blocking.
    pub(crate) fn get_range(&self, meta: &SegmentMeta, name: &str, range: Range<u64>) -> io::Result<Bytes> {
        let (store, at) = (Arc::clone(&self.store), self.at(&format!("{}/{name}", meta.path())));
        self.block(async move { Ok(store.get_range(&at, range).await?) })
    }

    /// Copies files of a segment below `dir`, whose folders are made. Blocking.
    pub(crate) fn download(&self, meta: &SegmentMeta, names: &[String], dir: &FsPath) -> io::Result<()> {
        let (store, below) = (Arc::clone(&self.store), self.at(&meta.path()));
        let files: Vec<(Path, PathBuf)> =
            names.iter().map(|name| (Path::from(format!("{below}/{name}")), dir.join(name))).collect();
        self.block(async move {
            let get = |(from, to): (Path, PathBuf)| {
                let store = Arc::clone(&store);
                async move { download(&*store, &from, &to).await }
            };
            let all = futures_util::stream::iter(files.into_iter().map(get)).buffer_unordered(PARALLEL);
            all.try_collect::<()>().await
        })
    }

    /// Deletes all files of a segment, the rows first: what is left of it then is no segment. Blocking.
    pub(crate) fn delete(&self, meta: &SegmentMeta) -> io::Result<()> {
        self.block(delete(Arc::clone(&self.store), self.at(&meta.path())))
    }

    /// The same without waiting for it; what fails is swept when the store opens.
    pub(crate) fn delete_later(&self, meta: &SegmentMeta) {
        let (store, below) = (Arc::clone(&self.store), self.at(&meta.path()));
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                match delete(store, below.clone()).await {
                    Ok(()) => tracing::debug!("removed `{below}`"),
                    Err(error) => tracing::warn!("`{below}` is swept when the store opens: {error}"),
                }
            });
        }
    }

    /// Puts the files below `from` in the place of a folder of a segment. Blocking.
    pub(crate) fn replace(&self, meta: &SegmentMeta, folder: &str, from: &FsPath) -> io::Result<()> {
        let (store, below) = (Arc::clone(&self.store), self.at(&format!("{}/{folder}", meta.path())));
        let mut files = Vec::new();
        collect(from, from, &mut files)?;
        self.block(async move {
            let old: Vec<_> = store.list(Some(&below)).map_ok(|object| object.location).try_collect().await?;
            for object in old {
                store.delete(&object).await?;
            }
            for (name, file) in files {
                upload(&*store, &Path::from(format!("{below}/{name}")), &file).await?;
            }
            Ok(())
        })
    }

    /// What people call the place of a segment.
    pub(crate) fn shown(&self, meta: &SegmentMeta) -> String {
        format!("{}/{}", self.url, meta.path())
    }
}

/// Files below a folder, with their names relative to `root`.
fn collect(root: &FsPath, dir: &FsPath, found: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, found)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            found.push((name.to_string_lossy().into_owned(), path));
        }
    }
    Ok(())
}

async fn upload(store: &dyn ObjectStore, to: &Path, file: &FsPath) -> Result<(), Failure> {
    let mut file = File::open(file)?;
    let mut part = read_part(&mut file)?;
    if part.len() < PART_BYTES {
        store.put(to, part.into()).await?;
        return Ok(());
    }
    let mut parts = WriteMultipart::new_with_chunk_size(store.put_multipart(to).await?, PART_BYTES);
    let put = async {
        while !part.is_empty() {
            parts.wait_for_capacity(PARALLEL).await?;
            parts.put(Bytes::from(std::mem::take(&mut part)));
            part = read_part(&mut file)?;
        }
        Ok::<(), Failure>(())
    };
    match put.await {
        Ok(()) => drop(parts.finish().await?),
        Err(error) => {
            // What cannot be taken back ends with the bucket's rule for unfinished uploads.
            let _ = parts.abort().await;
            return Err(error);
        }
    }
    Ok(())
}

fn read_part(file: &mut File) -> io::Result<Vec<u8>> {
    let mut part = Vec::new();
    file.take(PART_BYTES as u64).read_to_end(&mut part)?;
    Ok(part)
}

async fn download(store: &dyn ObjectStore, from: &Path, to: &FsPath) -> Result<(), Failure> {
    let mut bytes = store.get(from).await?.into_stream();
    if let Some(dir) = to.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut file = File::create(to)?;
    while let Some(part) = bytes.try_next().await? {
        file.write_all(&part)?;
    }
    Ok(())
}

async fn delete(store: Arc<dyn ObjectStore>, below: Path) -> Result<(), Failure> {
    match store.delete(&Path::from(format!("{below}/data.parquet"))).await {
        Err(object_store::Error::NotFound { .. }) | Ok(()) => {}
        Err(error) => return Err(error.into()),
    }
    let named: Vec<_> = store.list(Some(&below)).map_ok(|object| object.location).try_collect().await?;
    for object in named {
        match store.delete(&object).await {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
