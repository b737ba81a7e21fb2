//! The library that calls begin with at the moment, and the watch that puts a new one in its place.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::file::{Directory, File, Layer};
use super::library::Reading;
use super::name::Name;
use super::server_config::LoaderType;
use super::source::{Files, Remote, Source};
use super::{AssetError, AssetErrors, Library, Warning};
use crate::config;
use crate::twilio::{BadConfig, SyncClient};

/// How long a start waits for Twilio Sync. What takes longer goes on while calls are served.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The library that calls begin with at the moment. A call takes it once and keeps what it took.
#[derive(Debug)]
pub struct Shelf(ArcSwap<Library>);

/// The assets of a server that starts.
#[derive(Debug)]
pub struct Assets {
    /// What the first calls begin with.
    pub library: Library,
    watch: Watch,
}

/// Looks for changes.
#[derive(Debug)]
pub struct Watch {
    /// What changes are laid over: what is built in, and under Twilio Sync the local files as well.
    below: Library,
    source: Source,
    every: Duration,
    told: Told,
}

/// What was told and still holds: nothing is told twice.
#[derive(Debug, Default)]
struct Told {
    faults: BTreeSet<String>,
    warnings: BTreeSet<String>,
    trouble: Option<String>,
}

/// Why a server cannot start with its assets.
#[derive(Debug, thiserror::Error)]
pub enum BadAssets {
    /// There is something to be mended in the files.
    #[error(transparent)]
    Files(#[from] AssetErrors),
    /// No client can be made for Twilio Sync.
    #[error(transparent)]
    Sync(#[from] BadConfig),
}

impl From<AssetError> for BadAssets {
    fn from(error: AssetError) -> Self {
        Self::Files(AssetErrors(vec![error]))
    }
}

impl Shelf {
    /// A shelf with this library on it.
    pub fn new(library: Library) -> Self {
        Self(ArcSwap::from_pointee(library))
    }

    /// The library as it is now.
    pub fn library(&self) -> Arc<Library> {
        self.0.load_full()
    }
}

impl Assets {
    /// What is built into the binary; it never changes.
    pub fn built_in() -> Self {
        let library = Library::built_in();
        Self { watch: Watch::new(library.clone(), Source::BuiltIn), library }
    }

    /// What is built in, led by this text of a `serverConfig.json`; it never changes.
    pub fn configured(server_config: &str) -> Result<Self, AssetErrors> {
        let built_in = Library::built_in();
        let config = (Name::ServerConfig, Ok(File::new("serverConfig.json", server_config)));
        let layer = Layer { files: [config].into(), warnings: Vec::new() };
        let Reading { library, faults, .. } = built_in.under(layer, &built_in);
        if !faults.is_empty() {
            return Err(AssetErrors(faults));
        }
        Ok(Self { watch: Watch::new(library.clone(), Source::BuiltIn), library })
    }

    /// The assets in `dir` and, if its `serverConfig.json` says so, in Twilio Sync. What is to be told of them is logged.
    ///
    /// The files must be in order. If something in Sync is not, or Sync cannot be reached, the files stand in for it.
    pub async fn open(dir: &Path, twilio: &config::Twilio) -> Result<Self, BadAssets> {
        let directory = Directory::new(dir);
        let look = directory.look()?;
        let layer = directory.read()?;
        let local = layer.readable();
        let built_in = Library::built_in();
        let Reading { library, faults, warnings } = built_in.under(layer, &built_in);
        if !faults.is_empty() {
            return Err(AssetErrors(faults).into());
        }
        let mut assets = match library.loader().unwrap_or(LoaderType::File) {
            LoaderType::File => {
                Self { watch: Watch::new(built_in, Source::Files(Files::new(directory, look))), library }
            }
            LoaderType::Sync => {
                let source = Source::Sync(Box::new(Remote::new(SyncClient::new(twilio)?, local)));
                Self { watch: Watch::new(library.clone(), source), library }
            }
        };
        assets.watch.told.warnings(&warnings);
        assets.take_from_sync().await;
        assets.library.tell();
        Ok(assets)
    }

    /// Looks for changes this often, and not as often as is right for where they come from.
    pub fn looked_at_every(mut self, every: Duration) -> Self {
        self.watch.every = every;
        self
    }

    /// The shelf that calls read from, and the watch that fills it.
    pub fn begin(self) -> (Arc<Shelf>, Watch) {
        (Arc::new(Shelf::new(self.library)), self.watch)
    }

    async fn take_from_sync(&mut self) {
        if !matches!(self.watch.source, Source::Sync(_)) {
            return;
        }
        match timeout(START_LIMIT, self.watch.look(&self.library)).await {
            Ok(Some(library)) => self.library = library,
            Ok(None) => {}
            Err(_) => self.watch.told.trouble(Some(format!("no answer within {} s", START_LIMIT.as_secs()))),
        }
    }
}

impl Watch {
    fn new(below: Library, source: Source) -> Self {
        Self { below, every: source.every(), source, told: Told::default() }
    }

    /// Keeps the shelf up to date, for ever. It may be dropped at any time.
    pub async fn run(mut self, calls_take: Arc<Shelf>) {
        if matches!(self.source, Source::BuiltIn) {
            return;
        }
        loop {
            sleep(self.every).await;
            let good = calls_take.library();
            let Some(library) = self.look(&good).await else { continue };
            let changes = library.changes_since(&good);
            if !changes.is_empty() {
                info!(changes = changes.join(", "), "assets reloaded: new calls use them");
                calls_take.0.store(Arc::new(library));
            }
        }
    }

    /// What the assets are now, if anything about them has changed. Of what is broken, the `good` one stays.
    async fn look(&mut self, good: &Library) -> Option<Library> {
        let seen = self.source.look().await;
        self.told.trouble(seen.as_ref().err().map(ToString::to_string));
        let Reading { library, faults, mut warnings } = self.below.under(seen.ok()??, good);
        if library.loader().is_some_and(|loader| !self.source.is(loader)) {
            warnings.push(Warning::LoaderTypeLate { file: library.server_config_label().to_owned() });
        }
        self.told.faults(&faults);
        self.told.warnings(&warnings);
        Some(library)
    }
}

impl Told {
    fn faults(&mut self, faults: &[AssetError]) {
        let before = !self.faults.is_empty();
        for fault in news(&mut self.faults, faults) {
            error!("{fault} (until this is mended, what was there before stays)");
        }
        if before && faults.is_empty() {
            info!("all assets are in order again");
        }
    }

    fn warnings(&mut self, warnings: &[Warning]) {
        for warning in news(&mut self.warnings, warnings) {
            warn!("{warning}");
        }
    }

    fn trouble(&mut self, now: Option<String>) {
        match &now {
            Some(trouble) if self.trouble != now => {
                error!(trouble, "the assets cannot be looked at: calls are led by what was there before");
            }
            None if self.trouble.is_some() => info!("the assets can be looked at again"),
            _ => {}
        }
        self.trouble = now;
    }
}

/// What is so `now` and was not so before; `now` is remembered.
fn news(before: &mut BTreeSet<String>, now: &[impl ToString]) -> Vec<String> {
    let now: BTreeSet<String> = now.iter().map(ToString::to_string).collect();
    let news = now.difference(before).cloned().collect();
    *before = now;
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_still_holds_is_not_told_again() {
        let mut told = BTreeSet::new();
        assert_eq!(news(&mut told, &["a is broken", "b is broken"]), ["a is broken", "b is broken"]);
        assert_eq!(news(&mut told, &["b is broken"]), Vec::<String>::new());
        assert_eq!(news(&mut told, &["a is broken", "b is broken"]), ["a is broken"], "it was mended in between");
    }
}
