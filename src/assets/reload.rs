//! The current library, and the task that reloads it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::file::{AssetDirectory, AssetFile, Layer};
use super::library::OverlayResult;
use super::name::AssetName;
use super::schema::server_config::LoaderType;
use super::source::{AssetSource, AssetSourceError, FileSource, SyncSource};
use super::{AssetError, AssetErrors, AssetWarning, Library};
use crate::config;
use crate::telemetry::Telemetry;
use crate::twilio::{BuildTwilioClientError, SyncClient};

/// The time that a starting server waits for Twilio Sync. Afterwards loading continues in the background.
const SYNC_START_TIMEOUT: Duration = Duration::from_secs(20);

/// How long files must stay the same before a requested reload reads them.
const SETTLE_TIME: Duration = Duration::from_millis(100);

/// The current library. A call takes it once, when it starts, and keeps it.
#[derive(Debug)]
pub struct CurrentAssets {
    library: ArcSwap<Library>,
    /// How often the library was replaced.
    versions: AtomicU64,
    /// Changes with each new library.
    edits: watch::Sender<()>,
}

/// The assets of a starting server.
#[derive(Debug)]
pub struct Assets {
    /// The library that the first calls use.
    pub library: Library,
    watcher: AssetWatcher,
}

/// Polls the source of the assets and reloads them on changes.
#[derive(Debug)]
pub struct AssetWatcher {
    /// The assets base those of the source: the built-in ones and, for Twilio Sync, the local files.
    base: Library,
    source: AssetSource,
    interval: Duration,
    logged: LoggedProblems,
    requests: ReloadRequests,
}

/// Requests to look at the source of the assets at once. Clones belong to one server.
#[derive(Debug, Clone, Default)]
pub struct ReloadRequests(Arc<Notify>);

/// The problems that were logged and persist, so that each is logged once.
#[derive(Debug, Default)]
struct LoggedProblems {
    errors: BTreeSet<String>,
    warnings: BTreeSet<String>,
    source_error: Option<String>,
}

/// The reason why the assets of a starting server could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadAssetsError {
    /// The files have errors.
    #[error(transparent)]
    Files(#[from] AssetErrors),
    /// The client for Twilio Sync could not be built.
    #[error(transparent)]
    Sync(#[from] BuildTwilioClientError),
}

impl From<AssetError> for LoadAssetsError {
    fn from(error: AssetError) -> Self {
        Self::Files(AssetErrors(vec![error]))
    }
}

impl CurrentAssets {
    /// Holds this library.
    pub fn new(library: Library) -> Self {
        Self { library: ArcSwap::from_pointee(library), versions: AtomicU64::new(0), edits: watch::Sender::default() }
    }

    /// The current library.
    pub fn library(&self) -> Arc<Library> {
        self.library.load_full()
    }

    /// How often the library was replaced by a new version.
    pub(crate) fn version_count(&self) -> u64 {
        self.versions.load(Ordering::Relaxed)
    }

    /// Returns a receiver that is told of each new library.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.edits.subscribe()
    }

    fn replace(&self, library: Library) {
        self.library.store(Arc::new(library));
        self.versions.fetch_add(1, Ordering::Relaxed);
        self.edits.send_replace(());
    }
}

impl Assets {
    /// The built-in assets. They never change.
    pub fn built_in() -> Self {
        let library = Library::built_in();
        Self { watcher: AssetWatcher::new(library.clone(), AssetSource::BuiltIn), library }
    }

    /// The built-in assets with this text as `serverConfig.json`. They never change.
    pub fn from_server_config(server_config: &str) -> Result<Self, AssetErrors> {
        Self::from_files(&[("serverConfig.json", server_config.to_owned())])
    }

    /// The built-in assets with these files, each a name and a text. They never change. A name that is none of an asset is
    /// ignored.
    pub fn from_files(files: &[(&str, String)]) -> Result<Self, AssetErrors> {
        let built_in = Library::built_in();
        let file = |(name, text): &(&str, String)| {
            Some((AssetName::from_file_name(name)?.ok()?, Ok(AssetFile::new(name, text))))
        };
        let layer = Layer { files: files.iter().filter_map(file).collect(), warnings: Vec::new() };
        let OverlayResult { library, errors, .. } = built_in.overlay(layer, None);
        if !errors.is_empty() {
            return Err(AssetErrors(errors));
        }
        Ok(Self { watcher: AssetWatcher::new(library.clone(), AssetSource::BuiltIn), library })
    }

    /// Loads the assets in `dir` and, if its `serverConfig.json` says so, in Twilio Sync. Logs a summary and warnings.
    ///
    /// Errors in the files are returned. If an asset in Sync has an error, or Sync cannot be reached, the local files
    /// are used instead.
    pub async fn open(dir: &Path, twilio: &config::TwilioConfig) -> Result<Self, LoadAssetsError> {
        let directory = AssetDirectory::new(dir);
        let snapshot = directory.snapshot()?;
        let layer = directory.read()?;
        let mut local = layer.readable();
        let built_in = Library::built_in();
        let OverlayResult { library, errors, warnings } = built_in.overlay(layer, None);
        if !errors.is_empty() {
            return Err(AssetErrors(errors).into());
        }
        local.retain(|(name, _)| !library.is_unusable(name));
        let mut assets = match library.loader_type().unwrap_or(LoaderType::File) {
            LoaderType::File => Self {
                watcher: AssetWatcher::new(built_in, AssetSource::Files(FileSource::new(directory, snapshot))),
                library,
            },
            LoaderType::Sync => {
                let source = AssetSource::Sync(Box::new(SyncSource::new(SyncClient::new(twilio)?, local)));
                Self { watcher: AssetWatcher::new(library.clone(), source), library }
            }
        };
        assets.watcher.logged.log_warnings(&warnings);
        assets.load_from_sync().await;
        assets.library.log_summary();
        Ok(assets)
    }

    /// Replaces the poll interval of the source.
    pub fn with_poll_interval(mut self, every: Duration) -> Self {
        self.watcher.interval = every;
        self
    }

    /// Looks at the source also when it is requested.
    pub fn with_reload_requests(mut self, requests: ReloadRequests) -> Self {
        self.watcher.requests = requests;
        self
    }

    /// Splits the assets into the library that calls read and the watcher that updates it.
    pub fn into_parts(self) -> (Arc<CurrentAssets>, AssetWatcher) {
        (Arc::new(CurrentAssets::new(self.library)), self.watcher)
    }

    async fn load_from_sync(&mut self) {
        if !matches!(self.watcher.source, AssetSource::Sync(_)) {
            return;
        }
        match timeout(SYNC_START_TIMEOUT, self.watcher.poll(&self.library)).await {
            Ok(Some(library)) => self.library = library,
            Ok(None) => {}
            Err(_) => self
                .watcher
                .logged
                .log_source_error(Some(format!("no response within {} s", SYNC_START_TIMEOUT.as_secs())), None),
        }
    }
}

impl AssetWatcher {
    fn new(base: Library, source: AssetSource) -> Self {
        let interval = source.poll_interval();
        Self { base, interval, source, logged: LoggedProblems::default(), requests: ReloadRequests::default() }
    }

    /// Reports requests to Twilio Sync to this hub from now on.
    pub(crate) fn set_telemetry(&self, telemetry: &Arc<Telemetry>) {
        if let AssetSource::Sync(sync) = &self.source {
            sync.set_telemetry(telemetry);
        }
    }

    /// Keeps `current` up to date. Never returns. Safe to drop at any time.
    pub async fn run(mut self, current: Arc<CurrentAssets>) {
        loop {
            let is_requested = timeout(self.interval, self.requests.0.notified()).await.is_ok();
            let mut is_reloaded = self.reload(&current).await;
            if is_requested && !is_reloaded && matches!(self.source, AssetSource::Files(_)) {
                // Changed files are read once they have been the same twice.
                sleep(SETTLE_TIME).await;
                is_reloaded = self.reload(&current).await;
            }
            if is_requested && !is_reloaded {
                info!(
                    event = "assets.unchanged",
                    errors = self.logged.count_errors(),
                    "The assets were looked at on request; nothing that can be used has changed."
                );
            }
        }
    }

    /// Replaces the library if anything has changed. Returns whether it has.
    async fn reload(&mut self, current: &CurrentAssets) -> bool {
        let last_good = current.library();
        let Some(library) = self.poll(&last_good).await else { return false };
        let changes = library.changes_since(&last_good);
        if changes.is_empty() {
            return false;
        }
        info!(event = "assets.reloaded", changes = changes.join(", "), "The assets are reloaded; new calls use them.");
        current.replace(library);
        true
    }

    /// Returns the new library, if anything has changed. A broken asset keeps its version in `last_good`.
    async fn poll(&mut self, last_good: &Library) -> Option<Library> {
        let polled = self.source.poll().await;
        let failure = polled.as_ref().err();
        let request_id = failure.and_then(AssetSourceError::request_id);
        self.logged.log_source_error(failure.map(ToString::to_string), request_id);
        let OverlayResult { library, errors, mut warnings } = self.base.overlay(polled.ok()??, Some(last_good));
        if library.loader_type().is_some_and(|loader| !self.source.has_loader_type(loader)) {
            warnings.push(AssetWarning::LoaderTypeIgnored { file: library.server_config_label().to_owned() });
        }
        self.logged.log_errors(&errors);
        self.logged.log_warnings(&warnings);
        Some(library)
    }
}

impl ReloadRequests {
    /// Has the source looked at once. Requests that come while it is looked at are one.
    pub fn request(&self) {
        self.0.notify_one();
    }
}

impl LoggedProblems {
    /// The number of errors that persist, in the assets and in reaching them.
    fn count_errors(&self) -> usize {
        self.errors.len() + usize::from(self.source_error.is_some())
    }

    fn log_errors(&mut self, errors: &[AssetError]) {
        let before = !self.errors.is_empty();
        for error in record_new(&mut self.errors, errors) {
            error!(event = "assets.invalid", %error, "An asset cannot be used; its last good version stays in use.");
        }
        if before && errors.is_empty() {
            info!(event = "assets.valid_again", "All assets can be used again.");
        }
    }

    fn log_warnings(&mut self, warnings: &[AssetWarning]) {
        for warning in record_new(&mut self.warnings, warnings) {
            warn!(event = "assets.warning", %warning, "The assets contain something that is probably not intended.");
        }
    }

    fn log_source_error(&mut self, now: Option<String>, request_id: Option<&str>) {
        match &now {
            Some(error) if self.source_error != now => {
                error!(
                    event = "assets.source_unavailable",
                    error, request_id, "The assets cannot be polled; the last ones stay in use."
                );
            }
            None if self.source_error.is_some() => {
                info!(event = "assets.source_available", "The assets can be polled again.");
            }
            _ => {}
        }
        self.source_error = now;
    }
}

/// Returns the entries of `now` that are not in `before`, and replaces `before`.
fn record_new(before: &mut BTreeSet<String>, now: &[impl ToString]) -> Vec<String> {
    let now: BTreeSet<String> = now.iter().map(ToString::to_string).collect();
    let added = now.difference(before).cloned().collect();
    *before = now;
    added
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persisting_problem_is_not_reported_again() {
        let mut known = BTreeSet::new();
        assert_eq!(record_new(&mut known, &["a is broken", "b is broken"]), ["a is broken", "b is broken"]);
        assert_eq!(record_new(&mut known, &["b is broken"]), Vec::<String>::new());
        assert_eq!(record_new(&mut known, &["a is broken", "b is broken"]), ["a is broken"], "it was fixed in between");
    }
}
