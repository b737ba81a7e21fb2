//! Every asset in a directory, whether a call uses it or not: what is wrong with each.

use std::path::Path;

use super::file::Shelf;
use super::{AssetError, Assets, manifest, server_config};

impl Assets {
    /// Reads `serverConfig.json`, each context (`*.md`) and each manifest (`*.json`) that stands in `dir`, and tells for
    /// each that cannot be used the first thing that is wrong with it. In the order of their names.
    pub fn mistakes(dir: &Path) -> Vec<AssetError> {
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let mut names: Vec<String> = entries.filter_map(|it| it.ok()?.file_name().into_string().ok()).collect();
        names.sort_unstable();
        let shelf = Shelf::Directory(dir);
        names.iter().filter_map(|name| mistake(&shelf, name).err()).collect()
    }
}

fn mistake(shelf: &Shelf<'_>, name: &str) -> Result<(), AssetError> {
    match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("json") => {
            let file = shelf.take(name)?;
            if name == "serverConfig.json" {
                server_config::parse(&file).map(drop)
            } else {
                manifest::parse(&file).map(drop)
            }
        }
        Some("md") => {
            let file = shelf.take(name)?;
            if file.text.trim().is_empty() { Err(AssetError::Empty { file: file.label }) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}
