//! A store as a program of before left it: its facts are of the first revision of their derivation, and lack what is derived since.

use fhir_engage::store::Location;

use super::database::Database;

/// Takes `lacks` out of all stored facts of a type, and makes them those of revision 1.
pub fn make_older(db: &Database, rtype: &str, lacks: &str) {
    let facts = match db.location() {
        Location::Sqlite(_) => format!("CAST(replace(CAST(facts AS TEXT), '{lacks}', '') AS BLOB)"),
        Location::Postgres(_) => format!("convert_to(replace(convert_from(facts, 'UTF8'), '{lacks}', ''), 'UTF8')"),
    };
    db.execute(&format!("UPDATE fact SET facts = {facts} WHERE rtype = '{rtype}'"));
    // What another text hashes to nobody needs to know, as long as it is something else.
    db.execute(&format!("UPDATE resource SET projector = 1, facts_hash = body_hash WHERE rtype = '{rtype}'"));
    db.execute(&format!("UPDATE derivation SET revision = 1 WHERE rtype = '{rtype}'"));
}

/// All facts, and what own attributes read, a line for each (patient, resource).
pub fn facts(db: &Database) -> Vec<String> {
    let (facts, own) = match db.location() {
        Location::Sqlite(_) => ("CAST(f.facts AS TEXT)", "CAST(f.own AS TEXT)"),
        Location::Postgres(_) => ("convert_from(f.facts, 'UTF8')", "convert_from(f.own, 'UTF8')"),
    };
    let sql = format!(
        "SELECT f.rtype || '/' || f.fhir_id || ' of ' || p.fhir_id || ' ' || r.projector || ' ' || {facts} || ' ' || COALESCE({own}, '-') AS line
         FROM fact f JOIN patient p ON p.pk = f.patient JOIN resource r ON r.pk = f.resource"
    );
    let mut lines = db.lines(&sql);
    lines.sort();
    lines
}
