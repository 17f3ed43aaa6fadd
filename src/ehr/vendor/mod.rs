//! Vendors' presets: what is known of a vendor's servers before one of them is asked, as data with its sources. Only here are vendors
//! named. What a preset says of writing back is opaque here; `writeback` reads it.

mod registration;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use domain::model::ResourceType;
use serde::Deserialize;

use super::bulk::Dialect;
use super::limits::Published;
use super::profile::AudForm;
use super::reads::Reads;
use super::subscription::Manner;
pub use registration::{ElementNote, Headers, KeyForm, Registration, Said, Sent};

/// What is known of one vendor's servers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Its name in a connector profile.
    pub name: String,
    /// Other names that mean the same.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Its name for people.
    pub title: String,
    /// What it rests on.
    pub facts: Vec<Fact>,
    /// How its resources may be read.
    pub sync: Reads,
    /// How a client is registered, and what to ask for.
    pub register: Registration,
    /// Request headers that are wanted.
    #[serde(default)]
    pub headers: Headers,
    /// Elements that do not come, or do not tell what they seem to.
    #[serde(default)]
    pub elements: Vec<ElementNote>,
    /// What its authorization servers want otherwise than SMART says.
    #[serde(default)]
    pub authorization: Authorization,
    /// What its vendor publishes of how much it may be asked; the first one that is of the address counts.
    #[serde(default)]
    pub limits: Vec<Published>,
    /// How exports are asked for; absent where such servers have none that is known.
    #[serde(default)]
    pub bulk: Option<Dialect>,
    /// How such servers are asked to tell of changes, where they do it their own way.
    #[serde(default)]
    pub events: Option<EventHabits>,
    /// What is taken in writing back: `writeback`'s to read.
    pub write_back: toml::Table,
}

/// How a vendor's servers are asked to tell of changes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventHabits {
    /// How.
    pub manner: Manner,
    /// The topics of each type.
    pub topics: BTreeMap<ResourceType, Vec<String>>,
    /// The types whose events name a number of the vendor's own, and no FHIR id.
    #[serde(default)]
    pub by_number: BTreeSet<ResourceType>,
}

/// What a vendor's authorization servers want otherwise than SMART says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    /// The form of `aud` in an authorization request.
    pub aud: Option<AudForm>,
}

/// Something that a preset rests on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// The part of the preset that it explains.
    pub about: String,
    /// What is known, in words.
    pub says: String,
    /// Where it is written: a section of `standards.md`, the vendor's captured statement, or a page.
    pub source: String,
}

const FILES: [&str; 11] = [
    include_str!("epic.toml"),
    include_str!("oracle.toml"),
    include_str!("meditech.toml"),
    include_str!("athena.toml"),
    include_str!("eclinicalworks.toml"),
    include_str!("veradigm.toml"),
    include_str!("nextgen.toml"),
    include_str!("full-r4.toml"),
    include_str!("hapi.toml"),
    include_str!("medplum.toml"),
    include_str!("healthlake.toml"),
];

/// A file that cannot be read would be left out; a test reads them all.
static PRESETS: LazyLock<Vec<Preset>> = LazyLock::new(|| FILES.iter().filter_map(|text| toml::from_str(text).ok()).collect());

/// All presets.
#[must_use]
pub fn all() -> &'static [Preset] {
    &PRESETS
}

/// The preset of that name or alias; case does not matter.
#[must_use]
pub fn preset(name: &str) -> Option<&'static Preset> {
    let name = name.trim().to_ascii_lowercase().replace([' ', '_'], "-");
    all().iter().find(|p| p.name == name || p.aliases.contains(&name))
}

/// The names that are known, for a message.
#[must_use]
pub fn known() -> String {
    let one = |p: &Preset| if p.aliases.is_empty() { p.name.clone() } else { format!("{} ({})", p.name, p.aliases.join(", ")) };
    all().iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_read_and_every_name_is_one_preset() {
        for text in FILES {
            toml::from_str::<Preset>(text).unwrap();
        }
        assert_eq!(all().len(), FILES.len());
        let names: Vec<&String> = all().iter().flat_map(|p| p.aliases.iter().chain([&p.name])).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a name stands for two presets");
        for name in names {
            assert_eq!(*name, name.to_ascii_lowercase(), "{name}");
            assert!(preset(name).is_some() && known().contains(name.as_str()), "{name}");
        }
        assert_eq!(preset(" Full_R4 ").unwrap().name, "full-r4");
        assert_eq!(preset("cerner").unwrap().name, "oracle");
        assert_eq!(preset("no-such"), None);
    }

    #[test]
    fn every_part_of_a_preset_says_where_it_is_from() {
        for p in all() {
            let about: BTreeSet<&str> = p.facts.iter().map(|f| f.about.as_str()).collect();
            for part in p
                .write_back
                .iter()
                .filter(|(_, v)| v.is_table())
                .map(|(name, _)| name.as_str())
                .chain(["chain", "sync"])
                .chain(p.bulk.is_some().then_some("bulk"))
                .chain(p.events.is_some().then_some("events"))
            {
                assert!(about.contains(part), "{}: nothing says why {part} is so", p.name);
            }
            for f in &p.facts {
                let known = ["standards.md ", "statement", "https://", "ours"].iter().any(|s| f.source.starts_with(s));
                assert!(known && !f.says.trim().is_empty(), "{}: {f:?}", p.name);
                assert!(
                    p.write_back.contains_key(&f.about) || ["chain", "sync", "authorization", "bulk", "events"].contains(&f.about.as_str()),
                    "{}: {} is not in it",
                    p.name,
                    f.about
                );
            }
        }
    }
}
