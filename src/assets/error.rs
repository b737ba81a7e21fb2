//! Errors and warnings about assets, with the file and, where known, the line.

use std::fmt;

/// The reason why an asset cannot be used. Its text names the place.
#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// The file exists and cannot be read.
    #[error("{file}: cannot be read: {source}")]
    Read {
        /// The file.
        file: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The directory holds so many files that it is probably not the intended one.
    #[error("{dir}: holds more than {limit} files: is it the right directory?")]
    TooManyFiles {
        /// The directory.
        dir: String,
        /// The maximum number of files.
        limit: usize,
    },
    /// The file is too large.
    #[error("{file}: is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        file: String,
        /// The maximum size in bytes.
        limit: u64,
    },
    /// The file is not text.
    #[error("{file}: is not UTF-8 text")]
    NotUtf8 {
        /// The file.
        file: String,
    },
    /// The context is empty.
    #[error("{file}: is empty")]
    Empty {
        /// The file.
        file: String,
    },
    /// `serverConfig.json` names an asset that does not exist.
    #[error("{file}: {named_by} names {missing}, which does not exist; there are {known}")]
    Missing {
        /// The name of the `serverConfig.json`.
        file: String,
        /// The section or parameter that names it.
        named_by: &'static str,
        /// The file name of the missing asset.
        missing: String,
        /// The keys of the existing assets of that kind.
        known: String,
    },
    /// Invalid JSON, an invalid value, or an unknown tool.
    #[error("{file}:{line}: {what}")]
    Invalid {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The problem.
        what: String,
    },
    /// Calls are recorded while card or account details are captured.
    #[error(
        "{file}: Recording.pauseDuringCapture is false, and the manifest {manifest} takes payments: the tones of a card may be in \
         the recording; remove it, or set Pci.acceptNonCompliant to true"
    )]
    UnpausedRecording {
        /// The name of the `serverConfig.json`.
        file: String,
        /// The key of a manifest that takes payments.
        manifest: String,
    },
    /// An attribute that is not PCI compliant is set where payments can be taken.
    #[error(
        "{file}: {attributes} of <ConversationRelay> feeds a product of Twilio that is not PCI compliant, and the manifest \
         {manifest} takes payments: remove it, or set Pci.acceptNonCompliant to true"
    )]
    NotCompliant {
        /// The name of the `serverConfig.json`.
        file: String,
        /// The attributes that are set.
        attributes: String,
        /// A manifest with which payments can be taken.
        manifest: String,
    },
    /// The parts of a large context in Twilio Sync do not belong together.
    #[error("{file}: {what}; upload it again with --force")]
    InvalidParts {
        /// The name of the item with the first part.
        file: String,
        /// The problem with the parts.
        what: String,
    },
}

/// The errors of all assets. `Display` writes one line per error.
#[derive(Debug)]
pub struct AssetErrors(pub(super) Vec<AssetError>);

impl std::error::Error for AssetErrors {}

impl fmt::Display for AssetErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// No context, or no manifest, has this key, or its file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {}{kind} {key}; there are {known}", if *.is_unusable { "usable " } else { "" })]
pub struct UnknownKeyError {
    /// `context` or `manifest`.
    pub kind: &'static str,
    /// The key, if it is well-formed and therefore safe to log.
    pub key: String,
    /// The existing keys.
    pub known: String,
    /// Whether there is a file of that name, which has an error.
    pub is_unusable: bool,
}

/// Something in the assets that is allowed and probably not intended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssetWarning {
    /// A key that is misspelt, or of another version.
    #[error("{file}: {key} is not known to this version and is ignored")]
    UnknownKey {
        /// The file.
        file: String,
        /// The path of the key, such as `ConversationRelay.Configuration.interruptByDtmf`.
        key: String,
    },
    /// An attribute that the server sets itself.
    #[error("{file}: {key} is ignored, since the server sets it itself")]
    SetByServer {
        /// The file.
        file: String,
        /// The path of the key.
        key: String,
    },
    /// An attribute of `Extra`.
    #[error(
        "{file}: ConversationRelay.Extra.{name} is sent to Twilio as it is: make sure that Twilio knows it, and that it is \
         PCI compliant"
    )]
    ExtraAttribute {
        /// The file.
        file: String,
        /// The name of the attribute.
        name: String,
    },
    /// An attribute that is not PCI compliant is set and accepted.
    #[error(
        "{file}: {attributes} of <ConversationRelay> feeds a product of Twilio that is not PCI compliant; \
         Pci.acceptNonCompliant accepts that"
    )]
    AcceptedNotCompliant {
        /// The file.
        file: String,
        /// The attributes that are set.
        attributes: String,
    },
    /// Calls are recorded while card or account details are captured, and that is accepted.
    #[error(
        "{file}: Recording.pauseDuringCapture is false, so that the tones of a card may be in the recording; \
         Pci.acceptNonCompliant accepts that"
    )]
    AcceptedUnpausedRecording {
        /// The file.
        file: String,
    },
    /// A text that is required is missing in a language of the session.
    #[error("{file}: {text} has no text in {code}: callers get it in another language")]
    MissingText {
        /// The file.
        file: String,
        /// The path of the text.
        text: &'static str,
        /// The BCP 47 code of the language.
        code: String,
    },
    /// `assetLoaderType` is neither `file` nor `sync`.
    #[error("{file}: assetLoaderType is {kind:?}, neither file nor sync: file is used")]
    UnknownLoaderType {
        /// The file.
        file: String,
        /// The value.
        kind: String,
    },
    /// `assetLoaderType` differs from the one that the server was started with.
    #[error(
        "{file}: assetLoaderType is read when the server starts, from its own serverConfig.json: it has no effect here"
    )]
    LoaderTypeIgnored {
        /// The file.
        file: String,
    },
    /// A file that nothing names cannot be used.
    #[error("{error}; the file is not used")]
    Unusable {
        /// The file and its error.
        error: String,
    },
    /// A tool of a manifest differs from what is read or sent.
    #[error("{file}:{line}: {what}")]
    Tool {
        /// The file.
        file: String,
        /// The line of the tool, counted from 1.
        line: usize,
        /// The tool, and the problem.
        what: String,
    },
    /// The name of a file or an item cannot be the key of an asset.
    #[error("{file}: is ignored: the name of a context or a manifest may have letters, digits, - and _ only")]
    InvalidKey {
        /// The file or the item.
        file: String,
    },
    /// The directory contains no assets.
    #[error("{dir}: contains no assets; the built-in ones are used")]
    NoAssets {
        /// The directory.
        dir: String,
    },
}
