//! What can be wrong with an asset, with the file and, where there is one, the line.

use std::fmt;

/// Why an asset cannot be used. The text says where to look.
#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// The file is there and cannot be read.
    #[error("{file}: cannot be read: {source}")]
    Read {
        /// The file.
        file: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// The directory is another one than was meant.
    #[error("{dir}: holds more than {limit} files: is it the right directory?")]
    TooMany {
        /// The directory.
        dir: String,
        /// How many it may hold.
        limit: usize,
    },
    /// The file is larger than any asset has reason to be.
    #[error("{file}: is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        file: String,
        /// In bytes.
        limit: u64,
    },
    /// The file holds something other than text.
    #[error("{file}: is not UTF-8 text")]
    NotText {
        /// The file.
        file: String,
    },
    /// A context that says nothing.
    #[error("{file}: is empty")]
    Empty {
        /// The file.
        file: String,
    },
    /// `AssetLoader` names what is not there.
    #[error("{file}: AssetLoader names {missing}, which does not exist; there are {known}")]
    Missing {
        /// The file of `serverConfig.json`.
        file: String,
        /// The name that leads nowhere, as that of a file.
        missing: String,
        /// The keys of those that would be there.
        known: String,
    },
    /// Broken JSON, a value that does not fit, a tool that does not exist.
    #[error("{file}:{line}: {what}")]
    Invalid {
        /// The file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// The parts of a large context in Twilio Sync do not make a whole.
    #[error("{file}: {what}; upload it once more, with --force")]
    Parts {
        /// The item of its first part.
        file: String,
        /// What is wrong with them.
        what: String,
    },
}

/// Why assets cannot be used: everything that has to be mended, in a line each.
#[derive(Debug)]
pub struct AssetErrors(pub(super) Vec<AssetError>);

impl std::error::Error for AssetErrors {}

impl fmt::Display for AssetErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// A key that no context, or no manifest, has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {kind} {key}; there are {known}")]
pub struct UnknownKey {
    /// `context` or `manifest`.
    pub kind: &'static str,
    /// The key, if it has the shape of one: fit for a log.
    pub key: String,
    /// The keys that there are.
    pub known: String,
}

/// What is allowed in the assets and probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// Misspelt, or of a newer or an older version.
    #[error("{file}: {key} is not known to this version and is left out")]
    Unknown {
        /// The file.
        file: String,
        /// The key with those that it stands in: `ConversationRelay.Configuration.interruptByDtmf`.
        key: String,
    },
    /// An attribute that only the server can know.
    #[error("{file}: {key} is left out, since the server sets it by itself")]
    ServersOwn {
        /// The file.
        file: String,
        /// The key with those that it stands in.
        key: String,
    },
    /// `assetLoaderType` is neither `file` nor `sync`.
    #[error("{file}: assetLoaderType is {kind:?}, neither file nor sync: the assets are taken from files")]
    LoaderType {
        /// The file.
        file: String,
        /// What stands there.
        kind: String,
    },
    /// `assetLoaderType` is not what the server was started with.
    #[error(
        "{file}: assetLoaderType is read when the server starts, from its own serverConfig.json: it has no effect here"
    )]
    LoaderTypeLate {
        /// The file.
        file: String,
    },
    /// The name of a file or an item cannot be the key of an asset.
    #[error("{file}: is left out, since a context or a manifest is named in letters, digits, - and _")]
    Key {
        /// The file or the item.
        file: String,
    },
    /// A directory with none of the files in it.
    #[error("{dir}: holds no asset; those that are built in are used")]
    NothingThere {
        /// The directory.
        dir: String,
    },
}
