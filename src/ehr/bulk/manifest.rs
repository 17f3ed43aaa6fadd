//! What an export consists of, as its manifest says: of versions 1, 2 and 3 of Bulk Data Access and of the ballot of version 4. Pure. Every
//! member but `output` may be missing, unknown ones are passed over, and one of the wrong type counts as missing.

use domain::Timestamp;
use domain::model::ResourceType;
use serde_json::Value;
use url::Url;

/// A manifest, or one page of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// All changes up to this instant of the server's clock are in; absent where it is not told, or cannot be read.
    pub transaction_time: Option<Timestamp>,
    /// Whether the files want our token; absent where not told.
    pub requires_token: Option<bool>,
    /// The files.
    pub files: Vec<File>,
    /// Where the manifest goes on (`link` with relation `next`).
    pub next: Option<Url>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What it holds.
    pub role: Role,
    /// The type that the manifest names; absent where it names none.
    pub rtype: Option<String>,
    /// Where it is.
    pub url: Url,
    /// How many resources it holds, where told.
    pub count: Option<u64>,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Bundles whose entries name what was deleted.
    Deleted,
    /// Resources.
    Output,
    /// OperationOutcomes.
    Error,
}

/// Why what came is no manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAManifest {
    /// Not JSON, or not an object of that kind.
    #[error("the EHR says that the export is ready, and what came is no manifest")]
    NotJson,
    /// A file without an address.
    #[error("the export's manifest names a file without an address that can be read")]
    NoUrl,
}

impl Manifest {
    /// Reads a manifest; addresses are taken as they stand, relative ones from where it came.
    ///
    /// # Errors
    /// [`NotAManifest`].
    pub fn read(bytes: &[u8], from: &Url) -> Result<Self, NotAManifest> {
        let manifest: Value = serde_json::from_slice(bytes).map_err(|_| NotAManifest::NotJson)?;
        // An empty list of files moves marks: what is none must not be taken for one. Some leave `output` out where nothing was found.
        let is_one = manifest.get("output").is_some_and(Value::is_array) || manifest.get("transactionTime").is_some();
        if !is_one || manifest.get("resourceType").is_some() {
            return Err(NotAManifest::NotJson);
        }
        let mut files = Vec::new();
        // Version 4 calls errors outcomes.
        for (name, role) in [("deleted", Role::Deleted), ("output", Role::Output), ("error", Role::Error), ("outcome", Role::Error)] {
            for file in manifest.get(name).and_then(Value::as_array).into_iter().flatten() {
                let url = file.get("url").and_then(Value::as_str).and_then(|text| from.join(text).ok()).ok_or(NotAManifest::NoUrl)?;
                files.push(File {
                    role,
                    rtype: file.get("type").and_then(Value::as_str).map(str::to_owned),
                    url,
                    count: file.get("count").and_then(count),
                });
            }
        }
        Ok(Self {
            transaction_time: manifest.get("transactionTime").and_then(Value::as_str).and_then(Timestamp::parse),
            requires_token: manifest.get("requiresAccessToken").and_then(boolean),
            files,
            next: next(&manifest).and_then(|text| from.join(text).ok()),
        })
    }

    /// Adds a further page.
    pub fn extend(&mut self, page: Self) {
        // The earlier one is the safe one.
        self.transaction_time = match (self.transaction_time, page.transaction_time) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.requires_token = self.requires_token.or(page.requires_token);
        self.files.extend(page.files);
        self.next = page.next;
    }

    /// What is to be read of it for these types, in the order to read it in: what was deleted, then patients, then the rest, then what went
    /// wrong. Files of other types are left out.
    #[must_use]
    pub fn wanted(&self, types: &[ResourceType]) -> Vec<File> {
        let ours = |f: &&File| f.role != Role::Output || f.rtype.as_deref().is_none_or(|t| types.iter().any(|k| k.as_str() == t));
        let mut files: Vec<File> = self.files.iter().filter(ours).cloned().collect();
        files.sort_by_key(|f| (f.role, f.rtype.as_deref() != Some("Patient")));
        files
    }
}

/// What stands for a list of files: their kinds, types and counts in order. Addresses may be signed anew each time they are asked for.
#[must_use]
pub fn list_of(files: &[File]) -> String {
    let one = |f: &File| format!("{:?} {} {:?}\n", f.role, f.rtype.as_deref().unwrap_or("-"), f.count);
    format!("{} {}", files.len(), blake3::hash(files.iter().map(one).collect::<String>().as_bytes()).to_hex())
}

// Some write numbers as texts.
fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn boolean(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| match value.as_str()? {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    })
}

fn next(manifest: &Value) -> Option<&str> {
    let links = manifest.get("link")?.as_array()?;
    links.iter().find(|link| link.get("relation").and_then(Value::as_str) == Some("next"))?.get("url")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Manifest, NotAManifest> {
        Manifest::read(text.as_bytes(), &Url::parse("https://e.org/r4/status/7").unwrap())
    }

    #[test]
    fn what_is_no_manifest_is_not_taken_for_one_without_files() {
        for text in ["", "<html>", "[]", "{}", r#"{"resourceType":"OperationOutcome","issue":[]}"#, r#"{"status":"in progress"}"#] {
            assert_eq!(read(text).unwrap_err(), NotAManifest::NotJson, "{text}");
        }
        assert!(read(r#"{"transactionTime":"2026-11-23T10:00:00Z"}"#).unwrap().files.is_empty(), "nothing was found");
        assert!(read(r#"{"output":[]}"#).unwrap().files.is_empty());
    }

    #[test]
    fn the_manifests_of_all_versions_are_read() {
        // Version 1: no count, no deleted.
        let one = read(
            r#"{"transactionTime":"2026-11-23T10:00:00.123456789Z","request":"not a url","requiresAccessToken":true,
                "output":[{"type":"CarePlan","url":"https://e.org/f/2?sig=a%2Fb+c"},{"type":"Patient","url":"/f/1"}],"error":[]}"#,
        )
        .unwrap();
        assert_eq!(one.transaction_time, Timestamp::parse("2026-11-23T10:00:00.123456Z"));
        assert_eq!(one.requires_token, Some(true));
        let urls: Vec<&str> = one.files.iter().map(|f| f.url.as_str()).collect();
        assert_eq!(urls, ["https://e.org/f/2?sig=a%2Fb+c", "https://e.org/f/1"], "signed addresses stay as they are");
        // Version 3: deleted, count, a next page.
        let three = read(
            r#"{"transactionTime":"2026-11-23T10:00:00Z","request":"https://e.org/r4/$export","requiresAccessToken":false,
                "outputOrganizedBy":"","output":[{"type":"Patient","url":"https://e.org/f/1","count":3,"continuesInFile":"https://e.org/f/9"}],
                "deleted":[{"type":"Bundle","url":"https://e.org/d/1","count":"2"}],
                "error":[{"type":"OperationOutcome","url":"https://e.org/e/1"}],
                "link":[{"relation":"next","url":"https://e.org/status/7?page=2"}],"extension":{"x":1}}"#,
        )
        .unwrap();
        assert_eq!(three.requires_token, Some(false));
        assert_eq!(
            three.files.iter().map(|f| (f.role, f.count)).collect::<Vec<_>>(),
            [(Role::Deleted, Some(2)), (Role::Output, Some(3)), (Role::Error, None)]
        );
        assert_eq!(three.next.as_ref().unwrap().as_str(), "https://e.org/status/7?page=2");
        // The ballot of version 4: outcome, manifestType, no request, an array of extensions.
        let four = read(
            r#"{"manifestType":"export","outputFormat":"ndjson","transactionTime":"2026-11-23T09:00:00Z","requiresAccessToken":true,"output":[],
                "outcome":[{"url":"https://e.org/o/1","countSeverity":{"error":1}}],"extension":[]}"#,
        )
        .unwrap();
        assert_eq!(four.files[0].role, Role::Error);
        let mut whole = three;
        whole.extend(four);
        assert_eq!((whole.files.len(), whole.next.clone()), (4, None));
        assert_eq!(whole.transaction_time, Timestamp::parse("2026-11-23T09:00:00Z"));
    }

    #[test]
    fn what_is_missing_or_odd_is_not_said() {
        let bare = read(r#"{"output":null,"transactionTime":"yesterday","requiresAccessToken":"false"}"#).unwrap();
        assert_eq!((bare.transaction_time, bare.requires_token, bare.files.len()), (None, Some(false), 0));
        assert_eq!(read("[]"), Err(NotAManifest::NotJson));
        assert_eq!(read("<html>"), Err(NotAManifest::NotJson));
        assert_eq!(read(r#"{"output":[{"type":"Patient"}]}"#), Err(NotAManifest::NoUrl));
    }

    #[test]
    fn files_are_read_in_an_order_and_a_list_is_known_again_whatever_its_addresses() {
        let manifest = |sig: &str, count: u64| {
            let text = format!(
                r#"{{"output":[{{"type":"CarePlan","url":"https://e.org/f/2?{sig}","count":{count}}},{{"type":"Patient","url":"https://e.org/f/1?{sig}"}},
                   {{"type":"Device","url":"https://e.org/f/3"}}],"deleted":[{{"type":"Bundle","url":"https://e.org/d/1"}}],
                   "error":[{{"type":"OperationOutcome","url":"https://e.org/e/1"}}]}}"#
            );
            read(&text).unwrap().wanted(&[ResourceType::Patient, ResourceType::CarePlan])
        };
        let files = manifest("a", 5);
        let types: Vec<Option<&str>> = files.iter().map(|f| f.rtype.as_deref()).collect();
        assert_eq!(types, [Some("Bundle"), Some("Patient"), Some("CarePlan"), Some("OperationOutcome")]);
        assert_eq!(list_of(&files), list_of(&manifest("b", 5)));
        assert_ne!(list_of(&files), list_of(&manifest("a", 6)));
    }
}
