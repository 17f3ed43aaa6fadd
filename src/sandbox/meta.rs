//! A small JSON document that the sandbox's folder remembers for whoever runs it (the demo keeps its seed, instant and clock offset there).
//! Owns only that it is replaced whole or not at all.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde_json::Value;

/// Reads what was kept. `Ok(None)`: nothing yet.
///
/// # Errors
/// The file cannot be read, or is not JSON (`InvalidData`).
pub fn read_meta(dir: &Path) -> std::io::Result<Option<Value>> {
    match std::fs::read(dir.join("meta.json")) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces what is kept, making the folder where missing.
///
/// # Errors
/// The folder or file cannot be written; the former document is then still there.
pub fn write_meta(dir: &Path, value: &Value) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let fresh = dir.join("meta.json.new");
    let mut file = File::create(&fresh)?;
    file.write_all(value.to_string().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, dir.join("meta.json"))
}
