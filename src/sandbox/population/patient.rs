//! Made-up people: who they are, where they live, how they can be reached. Owns the shares of every trait.
//! Knows nothing of their visits.

use chrono::{Datelike, Days, NaiveDate};

use super::random::Random;
use super::tables::{CITIES, CLINICIANS, City, FAMILY_NAMES, FEMALE_NAMES, LANGUAGES, MAIL_DOMAINS, MALE_NAMES, STREETS};
use super::{Kind, Population, coding, concept, patient_id, reference, staff, write_meta};
use crate::instant::{DAY, SECOND, utc};
use crate::json::Writer;

/// A name drawn from its own stream, since visits and plans show it too.
pub(super) struct Name {
    pub(super) given: &'static str,
    middle: Option<&'static str>,
    pub(super) family: &'static str,
    female: bool,
}

impl Name {
    pub(super) fn of(population: &Population, index: u32) -> Self {
        let random = &mut population.random(Kind::Name, index);
        let female = random.chance(515);
        let names = if female { FEMALE_NAMES } else { MALE_NAMES };
        let given = random.word(names);
        let middle = random.chance(350).then(|| random.word(names)).filter(|middle| *middle != given);
        Self { given, middle, family: random.word(FAMILY_NAMES), female }
    }

    pub(super) fn display(&self) -> String {
        format!("{} {}", self.given, self.family)
    }
}

pub(super) fn write(population: &Population, index: u32) -> String {
    let random = &mut population.random(Kind::Patient, index);
    let name = Name::of(population, index);
    let today = population.today();
    let age_days = draw_age_days(random);
    let born = today.checked_sub_days(Days::new(age_days)).unwrap_or(today);
    let home = draw_home(population, random);
    let mut writer = Writer::resource("Patient", 2200);
    writer.text("id", &patient_id(index));
    let updated = population.as_of_micros - 60 * SECOND - random.below(700 * DAY);
    write_meta(&mut writer, updated, random.chance(20));
    write_identifiers(&mut writer, index, random);
    if !random.chance(60) {
        writer.flag("active", !random.chance(30));
    }
    write_names(&mut writer, &name, born, age_days, random);
    write_telecom(&mut writer, index, &name, home, random);
    let gender = if random.chance(12) {
        if random.chance(500) { "other" } else { "unknown" }
    } else if name.female {
        "female"
    } else {
        "male"
    };
    writer.text("gender", gender);
    write_birth_date(&mut writer, born, random);
    write_deceased(&mut writer, population, age_days, random);
    write_address(&mut writer, home, random);
    write_contact(&mut writer, home, random);
    write_languages(&mut writer, random);
    let (given, family) = CLINICIANS.get(index as usize % CLINICIANS.len()).copied().unwrap_or_default();
    writer.array("generalPractitioner", |w| {
        w.item(|w| {
            w.text("reference", &staff::practitioner(index as usize % CLINICIANS.len()));
            w.text("display", &format!("Dr. {given} {family}"));
        });
    });
    reference(&mut writer, "managingOrganization", staff::ORGANIZATION, staff::ORGANIZATION_NAME);
    writer.finish()
}

fn draw_age_days(random: &mut Random) -> u64 {
    let days = if random.chance(120) { random.between(20, 18 * 365) } else { random.between(18 * 365 + 5, 95 * 365) };
    days.unsigned_abs()
}

fn draw_home(population: &Population, random: &mut Random) -> &'static City {
    let near: Vec<&'static City> = CITIES.iter().filter(|city| city.zone == population.zone).collect();
    if !near.is_empty() && random.chance(750) { random.pick::<&City>(&near) } else { random.pick(CITIES) }
}

fn write_identifiers(writer: &mut Writer, index: u32, random: &mut Random) {
    writer.array("identifier", |w| {
        w.item(|w| {
            w.text("use", "usual");
            w.object("type", |w| {
                w.array("coding", |w| {
                    w.item(|w| coding(w, "http://terminology.hl7.org/CodeSystem/v2-0203", "MR", "Medical record number"))
                });
            });
            w.text("system", "https://ehr.example.org/mrn");
            w.text("value", &format!("MRN{:07}", u64::from(index) + 1_000_001));
        });
        if random.chance(400) {
            w.item(|w| {
                w.text("system", "https://payer.example.com/member");
                w.text("value", &format!("M{:09}", random.below(1_000_000_000)));
            });
        }
    });
}

fn write_names(writer: &mut Writer, name: &Name, born: NaiveDate, age_days: u64, random: &mut Random) {
    writer.array("name", |w| {
        w.item(|w| {
            w.text("use", "official");
            w.text("family", name.family);
            w.array("given", |w| {
                w.value(name.given);
                if let Some(middle) = name.middle {
                    w.value(middle);
                }
            });
            if random.chance(40) {
                w.array("suffix", |w| w.value("Jr."));
            }
        });
        if random.chance(60) {
            w.item(|w| {
                w.text("use", "nickname");
                w.array("given", |w| w.value(name.given.get(..3).unwrap_or(name.given)));
            });
        }
        if name.female && age_days > 25 * 365 && random.chance(150) {
            w.item(|w| {
                w.text("use", "old");
                w.text("family", random.word(FAMILY_NAMES));
                w.array("given", |w| w.value(name.given));
                w.object("period", |w| w.text("end", &(born.year() + 24).to_string()));
            });
        }
    });
}

// Shares per mille: 50 without any contact point, the others with one to four.
fn write_telecom(writer: &mut Writer, index: u32, name: &Name, home: &City, random: &mut Random) {
    if random.chance(50) {
        return;
    }
    let (mobile, land, mail, old) = (random.chance(800), random.chance(350), random.chance(650), random.chance(120));
    if !(mobile || land || mail || old) {
        return;
    }
    writer.array("telecom", |w| {
        if old {
            contact_point(w, "phone", &phone(home, Line::Shared, random), "old", None);
        }
        if mobile {
            let rank = random.chance(300).then_some(1);
            contact_point(w, "phone", &phone(home, Line::Mobile(index), random), "mobile", rank);
        }
        if land {
            contact_point(w, "phone", &phone(home, Line::Shared, random), "home", None);
        }
        if mail {
            let domain = random.word(MAIL_DOMAINS);
            contact_point(
                w,
                "email",
                &format!("{}.{}{}@{domain}", ascii(name.given), ascii(name.family), u64::from(index) + 1),
                "home",
                None,
            );
        }
    });
}

fn contact_point(writer: &mut Writer, system: &str, value: &str, usage: &str, rank: Option<i64>) {
    writer.item(|w| {
        w.text("system", system);
        w.text("value", value);
        w.text("use", usage);
        if let Some(rank) = rank {
            w.number("rank", rank);
        }
    });
}

/// Whose number it is: a mobile is one patient's own, as the cap on messages to one number would otherwise decide by chance who gets one.
#[derive(Clone, Copy)]
enum Line {
    Mobile(u32),
    Shared,
}

// Exchange 555 alone, where nobody has a number but directory assistance (555-1212); written in the ways front desks write numbers.
fn phone(home: &City, line: Line, random: &mut Random) -> String {
    let number = match line {
        Line::Mobile(index) => i64::from(index % 5_000) * 2 + 1,
        Line::Shared => 2 * random.below(600),
    };
    let area = home.area_code;
    match random.below(4) {
        0 => format!("({area}) 555-{number:04}"),
        1 => format!("{area}-555-{number:04}"),
        2 => format!("+1 {area} 555 {number:04}"),
        _ => format!("+1{area}555{number:04}"),
    }
}

fn ascii(name: &str) -> String {
    let kept: String = name.chars().filter(char::is_ascii_alphabetic).collect();
    kept.to_ascii_lowercase()
}

fn write_birth_date(writer: &mut Writer, born: NaiveDate, random: &mut Random) {
    match random.below(100) {
        0 => {}
        1 | 2 => writer.text("birthDate", &born.format("%Y").to_string()),
        3 | 4 => writer.text("birthDate", &born.format("%Y-%m").to_string()),
        _ => writer.text("birthDate", &born.to_string()),
    }
}

fn write_deceased(writer: &mut Writer, population: &Population, age_days: u64, random: &mut Random) {
    let since = i64::try_from(age_days).unwrap_or(0).min(900) * DAY;
    let died = utc(population.as_of_micros - DAY - random.below(since));
    match random.below(1000) {
        0..=9 => writer.flag("deceasedBoolean", true),
        10..=21 => writer.text("deceasedDateTime", &died.date_naive().to_string()),
        22..=25 => writer.text("deceasedDateTime", &died.format("%Y-%m").to_string()),
        26..=31 => writer.text("deceasedDateTime", &super::zoned(died.with_timezone(&population.zone))),
        32..=99 => writer.flag("deceasedBoolean", false),
        _ => {}
    }
}

fn write_address(writer: &mut Writer, home: &City, random: &mut Random) {
    if random.chance(30) {
        return;
    }
    writer.array("address", |w| {
        if random.chance(80) {
            let before = *random.pick(&[0_usize, 7, 12, 15]);
            if let Some(old) = CITIES.get(before) {
                w.item(|w| street_address(w, "old", old, random));
            }
        }
        w.item(|w| street_address(w, "home", home, random));
    });
}

fn street_address(writer: &mut Writer, usage: &str, city: &City, random: &mut Random) {
    writer.text("use", usage);
    writer.array("line", |w| {
        w.value(&format!("{} {}", random.between(1, 998), random.word(STREETS)));
        if random.chance(200) {
            w.value(&format!("Apt {}", random.between(1, 40)));
        }
    });
    writer.text("city", city.name);
    writer.text("state", city.state);
    if !random.chance(30) {
        let postal =
            if random.chance(150) { format!("{}-{:04}", city.postal_code, random.between(1, 9999)) } else { city.postal_code.to_owned() };
        writer.text("postalCode", &postal);
    }
    writer.text("country", "US");
}

// The number of a next of kin, which must not be taken for the patient's own.
fn write_contact(writer: &mut Writer, home: &City, random: &mut Random) {
    if !random.chance(150) {
        return;
    }
    writer.array("contact", |w| {
        w.item(|w| {
            w.array("relationship", |w| {
                w.item(|w| concept(w, "http://terminology.hl7.org/CodeSystem/v2-0131", "N", "Next-of-Kin"));
            });
            w.object("name", |w| {
                w.text("family", random.word(FAMILY_NAMES));
                w.array("given", |w| w.value(random.word(FEMALE_NAMES)));
            });
            w.array("telecom", |w| contact_point(w, "phone", &phone(home, Line::Shared, random), "mobile", None));
        });
    });
}

fn write_languages(writer: &mut Writer, random: &mut Random) {
    if random.chance(40) {
        return;
    }
    let (tag, display) = *random.weighted(LANGUAGES);
    let two = random.chance(100);
    let preferred = two || random.chance(500);
    writer.array("communication", |w| {
        if two && !tag.starts_with("en") {
            w.item(|w| language(w, "en", "English", Some(false)));
        }
        w.item(|w| language(w, tag, display, preferred.then_some(true)));
    });
}

fn language(writer: &mut Writer, tag: &str, display: &str, preferred: Option<bool>) {
    writer.object("language", |w| concept(w, "urn:ietf:bcp:47", tag, display));
    if let Some(preferred) = preferred {
        writer.flag("preferred", preferred);
    }
}
