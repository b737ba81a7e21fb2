//! What can be wrong with an asset, with the file and, where there is one, the line.

/// Why the assets cannot be used. The text says where to look.
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
    /// `AssetLoader` names what is neither in the directory nor built in.
    #[error("{file}: is named by AssetLoader in serverConfig.json and does not exist; built in are {built_in}")]
    Missing {
        /// The file.
        file: String,
        /// The names of those that would be there.
        built_in: String,
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
    /// `assetLoaderType` is something other than `file`.
    #[error("{file}: assetLoaderType {kind:?} is not supported: the assets are taken from files")]
    LoaderType {
        /// The file.
        file: String,
        /// What stands there.
        kind: String,
    },
    /// A directory with none of the files in it.
    #[error("{dir}: holds no asset; those that are built in are used")]
    NothingThere {
        /// The directory.
        dir: String,
    },
}
