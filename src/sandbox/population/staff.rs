//! The clinicians, clinics and the organization that visits and plans refer to. Small and the same for every seed.

use super::tables::{CLINICIANS, PLACES};
use super::{Population, write_meta};
use crate::instant::DAY;
use crate::json::Writer;

pub(super) const ORGANIZATION: &str = "Organization/org-1";
pub(super) const ORGANIZATION_NAME: &str = "Example Valley Health";

/// The reference to a clinician, counted from 0.
pub(super) fn practitioner(index: usize) -> String {
    format!("Practitioner/prac-{:02}", index + 1)
}

/// The reference to a clinic, counted from 0.
pub(super) fn location(index: usize) -> String {
    format!("Location/loc-{}", index + 1)
}

pub(super) fn write_all(population: &Population) -> impl Iterator<Item = String> + '_ {
    let updated = population.as_of_micros - 1000 * DAY;
    let organization = std::iter::once_with(move || {
        let mut writer = Writer::resource("Organization", 256);
        writer.text("id", "org-1");
        write_meta(&mut writer, updated, false);
        writer.flag("active", true);
        writer.text("name", ORGANIZATION_NAME);
        writer.finish()
    });
    let clinics = PLACES.iter().enumerate().map(move |(index, name)| {
        let mut writer = Writer::resource("Location", 256);
        writer.text("id", &format!("loc-{}", index + 1));
        write_meta(&mut writer, updated, false);
        writer.text("status", "active");
        writer.text("name", name);
        writer.object("managingOrganization", |w| w.text("reference", ORGANIZATION));
        writer.finish()
    });
    let clinicians = CLINICIANS.iter().enumerate().map(move |(index, (given, family))| {
        let mut writer = Writer::resource("Practitioner", 256);
        writer.text("id", &format!("prac-{:02}", index + 1));
        write_meta(&mut writer, updated, false);
        writer.flag("active", true);
        writer.array("name", |w| {
            w.item(|w| {
                w.text("use", "official");
                w.text("family", family);
                w.array("given", |w| w.value(given));
                w.array("prefix", |w| w.value("Dr."));
            });
        });
        writer.finish()
    });
    organization.chain(clinics).chain(clinicians)
}
