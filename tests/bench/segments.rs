//! How fast segments are evaluated, what a changed definition costs over a whole population, and that 1,000 changes cost what 1,000 cost.
//!
//! `cargo bench --bench segments -- --patients 100000` takes the synthetic population (a patient, three appointments and a care plan each). With
//! `--features compare-cel` two rules are evaluated by a library for the Common Expression Language too, in the same run. On SQLite, or with `--postgres
//! ADDRESS` on a PostgreSQL server.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may fail loudly")]

#[expect(dead_code, reason = "not everything is needed here")]
mod shared;

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::clock::ManualClock;
use domain::model::person::Origin;
use domain::model::{PersonFacts, ResourceType};
#[cfg(feature = "compare-cel")]
use domain::rules::ValueSets;
use domain::rules::{Definition, Site, shipped};
use fhir_engage::segments::{Definitions, Library, change, task};
use fhir_engage::store::{Lane, Store, definitions, leases, memberships};
use sandbox::Population;
use shared::{AS_OF, TERM, Workplace, at, ehr, import_into, number, peak_memory_mb, population};

fn main() {
    let patients = number("--patients", 20_000);
    evaluate(patients.min(20_000));
    #[cfg(feature = "compare-cel")]
    cel::compare(patients.min(20_000));
    let workplace = Workplace::new("segments");
    roll_out(patients, &workplace);
}

fn site() -> Site {
    Site::new(chrono_tz::America::New_York, "en")
}

/// The population's persons as evaluation sees them.
fn persons(patients: u32) -> Vec<PersonFacts> {
    let people = population(patients);
    let add = |person: &mut PersonFacts, kind: ResourceType, body: &str| {
        let read = domain::fhir::project(kind, body.as_bytes()).unwrap();
        person.add(Origin { ehr: ehr(), resource_type: kind, id: read.id.to_string(), version: read.version.clone() }, read.facts);
    };
    (0..patients)
        .map(|index| {
            let mut person = PersonFacts { synced: ResourceType::ALL.to_vec(), ..PersonFacts::default() };
            add(&mut person, ResourceType::Patient, &people.patient(index));
            people.appointments_of(index).iter().for_each(|body| add(&mut person, ResourceType::Appointment, body));
            people.care_plans_of(index).iter().for_each(|body| add(&mut person, ResourceType::CarePlan, body));
            person
        })
        .collect()
}

/// Answers, reasons and ends of validity of the shipped segments, on one core.
fn evaluate(patients: u32) {
    let people = persons(patients);
    let library = Library::shipped().unwrap();
    let site = site();
    let mut rates: Vec<f64> = (0..5)
        .map(|_| {
            let began = Instant::now();
            let pairs: usize = people.iter().map(|p| black_box(library.rules().evaluate(p, &site, AS_OF)).len()).sum();
            pairs as f64 / began.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    println!(
        "evaluation: {} segments, {} persons, one core: {:.0} pairs/s (median of 5), reasons and ends included",
        library.rules().segments().len(),
        people.len(),
        rates.get(2).copied().unwrap_or_default()
    );
}

struct Bench {
    store: Store,
    clock: ManualClock,
}

impl Bench {
    fn run(&self) -> (task::Report, Duration) {
        let fence =
            self.store.write_blocking(Lane::Interactive, "bench", |c| leases::acquire(c, task::LEASE, "bench", AS_OF, TERM, |_| true));
        let fence = fence.unwrap().unwrap();
        let site = site();
        let stage = task::Stage { store: &self.store, site: &site, clock: &self.clock, fence: &fence, term: TERM };
        let began = Instant::now();
        let report = task::run(&stage, &AtomicBool::new(false), &|_| {}).unwrap();
        (report, began.elapsed())
    }

    fn import(&self, folder: &Path) {
        import_into(&self.store, folder);
    }
}

fn write_lines(path: &Path, lines: impl Iterator<Item = String>) {
    use std::io::Write as _;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
    file.flush().unwrap();
}

/// The wanted definitions: the shipped ones, of which one says something else.
fn changed() -> Library {
    let mut all = shipped::definitions().unwrap();
    all.retain(|d| d.id != "age-65-and-over");
    let file = "id = 'age-65-and-over'\ntitle = 'x'\nstage = 'retention'\ndescription = 'x'\nrule = 'not deceased and age >= 60'";
    all.push(Definition::parse(file).unwrap());
    Library::of(&all, shipped::value_sets().unwrap()).unwrap()
}

fn roll_out(patients: u32, workplace: &Workplace) {
    let folder = &workplace.folder;
    let people = population(patients);
    write_lines(&folder.join("files/Patient.ndjson"), people.patients());
    write_lines(&folder.join("files/Appointment.ndjson"), people.appointments());
    write_lines(&folder.join("files/CarePlan.ndjson"), people.care_plans());
    let store = workplace.store("segments");
    let shipped = Library::shipped().unwrap();
    store.write_blocking(Lane::Bulk, "bench", |c| Definitions::open(c, &shipped, AS_OF).map(drop)).unwrap();
    let bench = Bench { store, clock: ManualClock::at(AS_OF) };
    bench.import(&folder.join("files"));
    let (report, took) = bench.run();
    println!("first evaluation: {} persons, {} pairs in {:.1} s", report.persons, report.pairs, took.as_secs_f64());

    let before = peak_memory_mb();
    let wanted = changed();
    let begun = bench.store.write_blocking(Lane::Interactive, "bench", |c| change::apply(c, &wanted, AS_OF)).unwrap();
    let done = AtomicBool::new(false);
    let ((report, took), waits) = std::thread::scope(|scope| {
        let reads = scope.spawn(|| read_on(&bench.store, &done));
        let run = bench.run();
        done.store(true, Ordering::Relaxed);
        (run, reads.join().unwrap())
    });
    let row = bench.store.read_blocking(definitions::rollouts).unwrap().remove(0);
    println!(
        "a changed definition ({begun:?}): {} persons in {:.1} s, {} entries, {} exits; peak memory {} before, {} after",
        report.rolled_out,
        took.as_secs_f64(),
        row.entries,
        row.exits,
        before,
        peak_memory_mb(),
    );
    println!(
        "  reads meanwhile: {} (median), {} (99 in 100), {} (longest) of {}",
        at(&waits, 50),
        at(&waits, 99),
        at(&waits, 100),
        waits.len()
    );
    if patients >= 1_000 {
        one_thousand(&bench, &people, folder);
    }
}

/// 1,000 patients change: their cancelled visits, another city.
fn one_thousand(bench: &Bench, people: &Population, folder: &Path) {
    let some = folder.join("some");
    std::fs::create_dir_all(&some).unwrap();
    let step = people.patients / 1_000;
    let visits = (0..1_000).filter_map(|n| people.appointments_of(n * step).into_iter().next());
    // The same visit, another status: no other type changes.
    let other = |text: String| {
        let mut visit: serde_json::Value = serde_json::from_str(&text).unwrap();
        let status = if visit["status"] == "cancelled" { "noshow" } else { "cancelled" };
        visit["status"] = status.into();
        visit.to_string()
    };
    write_lines(&some.join("Appointment.ndjson"), visits.map(other));
    bench.import(&some);
    let (report, took) = bench.run();
    println!(
        "1,000 changed among {}: {} persons, {} pairs, {} changes in {:.3} s, reads and commits included",
        people.patients,
        report.persons,
        report.pairs,
        report.changes,
        took.as_secs_f64()
    );
}

/// Reads as a page would, over and over; returns how long each took, in order of length.
fn read_on(store: &Store, done: &AtomicBool) -> Vec<Duration> {
    let mut waits = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let began = Instant::now();
        let segments = store.read_blocking(memberships::segments).unwrap();
        let number = segments.first().map_or(0, |s| s.number);
        black_box(store.read_blocking(|c| memberships::members(c, number, memberships::State::In, i64::MIN, 100)).unwrap());
        waits.push(began.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    waits.sort_unstable();
    waits
}

/// The value sets that the shipped rules name.
#[cfg(feature = "compare-cel")]
fn value_sets() -> ValueSets {
    ValueSets::of(shipped::value_sets().unwrap()).unwrap()
}

#[cfg(feature = "compare-cel")]
mod cel {
    //! The same two rules by a CEL library, on values that were derived before: what is compared is evaluation, and CEL gives neither reasons
    //! nor ends of validity.

    use std::time::Instant;

    use cel::{Context, Program, Value};
    use domain::rules::RuleSet;

    use super::{AS_OF, Definition, black_box, persons, site};

    const OURS: [&str; 2] = ["age >= 65 and not deceased", "has_mobile"];
    const CEL: [&str; 2] = ["age >= 65 && !deceased", "telecom.exists(t, t == 'mobile')"];

    pub fn compare(patients: u32) {
        let people = persons(patients);
        let site = site();
        let definitions: Vec<Definition> = OURS
            .iter()
            .enumerate()
            .map(|(n, rule)| {
                let file = format!("id = 'r{n}'\ntitle = 't'\nstage = 'intake'\ndescription = 'd'\nrule = '''{rule}'''");
                Definition::parse(&file).unwrap()
            })
            .collect();
        let rules = RuleSet::compile_with(&definitions, &super::value_sets(), &domain::rules::OwnAttributes::default()).unwrap();
        let began = Instant::now();
        let held: usize = people
            .iter()
            .map(|p| black_box(rules.evaluate(p, &site, AS_OF)).iter().filter(|a| a.truth == domain::rules::Truth::True).count())
            .sum();
        let ours = 2.0 * people.len() as f64 / began.elapsed().as_secs_f64();

        let programs: Vec<Program> = CEL.iter().map(|text| Program::compile(text).unwrap()).collect();
        // The ages as CEL is given them; deriving them is not measured.
        let values: Vec<(i64, bool, Vec<String>)> = people.iter().map(values_of).collect();
        let began = Instant::now();
        let mut theirs_held = 0;
        for (age, deceased, telecom) in &values {
            let mut context = Context::default();
            context.add_variable("age", *age).unwrap();
            context.add_variable("deceased", *deceased).unwrap();
            context.add_variable("telecom", telecom.clone()).unwrap();
            theirs_held += programs.iter().filter(|p| matches!(p.execute(&context), Ok(Value::Bool(true)))).count();
        }
        let theirs = 2.0 * people.len() as f64 / began.elapsed().as_secs_f64();
        println!(
            "two rules: {ours:.0} pairs/s here (derived from facts, with reasons and ends), {theirs:.0}/s by CEL on derived values: {:.1} to 1; {held} and {theirs_held} hold",
            ours / theirs
        );
    }

    fn values_of(person: &domain::model::PersonFacts) -> (i64, bool, Vec<String>) {
        let patient = person.patients.first().map(|p| p.facts.clone()).unwrap_or_default();
        let born = patient.birth_date.map_or_else(String::new, |d| d.to_string());
        let year: i64 = born.get(..4).and_then(|y| y.parse().ok()).unwrap_or(3000);
        let birthday_passed = born.get(5..).is_some_and(|day| day <= "11-23");
        let age = 2026 - year - i64::from(!birthday_passed);
        let telecom = patient.telecom.iter().map(|t| t.usage.clone().unwrap_or_else(|| t.system.clone())).collect();
        (age, patient.deceased, telecom)
    }
}
