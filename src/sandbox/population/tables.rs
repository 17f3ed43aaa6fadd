//! The words the population is made of: names, places, languages, visits, plans. Only data. Every person is made up; phone numbers are from
//! exchange 555, where nobody has a number, e-mail addresses from domains reserved by RFC 2606.

use chrono_tz::Tz;

pub(super) const FAMILY_NAMES: &[&str] = &[
    "Smith",
    "Johnson",
    "Williams",
    "Brown",
    "Jones",
    "García",
    "Miller",
    "Davis",
    "Rodríguez",
    "Martínez",
    "Hernández",
    "López",
    "Wilson",
    "Anderson",
    "Thomas",
    "Taylor",
    "Moore",
    "Jackson",
    "Martin",
    "Lee",
    "Pérez",
    "Thompson",
    "White",
    "Harris",
    "Sánchez",
    "Clark",
    "Ramírez",
    "Lewis",
    "Robinson",
    "Walker",
    "Young",
    "Allen",
    "King",
    "Wright",
    "Nguyễn",
    "Trần",
    "Chen",
    "Wang",
    "Patel",
    "O'Brien",
    "O'Connor",
    "McDonald",
    "Kowalski",
    "Novák",
    "Müller",
    "Okafor",
    "Adeyemi",
    "Haddad",
    "Cohen",
    "Silva",
    "Ferreira",
    "Smith-Jones",
    "de la Cruz",
    "Van Dyke",
    "Ivanova",
    "Petrov",
    "Kim",
    "Park",
    "Singh",
    "Kaur",
    "St. Pierre",
    "Baptiste",
    "Yılmaz",
    "Østergaard",
];
pub(super) const FEMALE_NAMES: &[&str] = &[
    "Mary",
    "Patricia",
    "Jennifer",
    "Linda",
    "Elizabeth",
    "Barbara",
    "Susan",
    "Jessica",
    "Sarah",
    "Karen",
    "María",
    "Ana",
    "Lucía",
    "Emma",
    "Olivia",
    "Ava",
    "Sophia",
    "Zoë",
    "Chloé",
    "Mei",
    "Lan",
    "Thảo",
    "Fatima",
    "Aisha",
    "Priya",
    "Ngozi",
    "Irina",
    "Yuki",
    "Hannah",
    "Grace",
];
pub(super) const MALE_NAMES: &[&str] = &[
    "James", "Robert", "John", "Michael", "David", "William", "Richard", "Joseph", "Thomas", "Charles", "José", "Juan", "Carlos", "Luis",
    "Liam", "Noah", "Oliver", "Wei", "Minh", "Ahmed", "Omar", "Raj", "Chidi", "Dmitri", "Kenji", "Daniel", "Paul", "Mark", "Seán", "André",
];
pub(super) const STREETS: &[&str] =
    &["Main St", "Oak Ave", "Maple St", "Park Rd", "Washington St", "Lakeview Dr", "Hill Rd", "2nd Ave", "Mill Ln", "Elm Ct"];
pub(super) const MAIL_DOMAINS: &[&str] = &["example.org", "example.com", "example.net"];

/// A place patients live in.
pub(super) struct City {
    pub(super) name: &'static str,
    pub(super) state: &'static str,
    pub(super) postal_code: &'static str,
    pub(super) area_code: &'static str,
    pub(super) zone: Tz,
}

const fn city(name: &'static str, state: &'static str, postal_code: &'static str, area_code: &'static str, zone: Tz) -> City {
    City { name, state, postal_code, area_code, zone }
}

/// Places in every time zone of the 50 states, two of them without daylight saving time.
pub(super) const CITIES: &[City] = &[
    city("Boston", "MA", "02118", "617", Tz::America__New_York),
    city("Worcester", "MA", "01605", "508", Tz::America__New_York),
    city("Springfield", "MA", "01108", "413", Tz::America__New_York),
    city("Providence", "RI", "02906", "401", Tz::America__New_York),
    city("Manchester", "NH", "03101", "603", Tz::America__New_York),
    city("New York", "NY", "10025", "212", Tz::America__New_York),
    city("Miami", "FL", "33130", "305", Tz::America__New_York),
    city("Pensacola", "FL", "32503", "850", Tz::America__Chicago),
    city("Indianapolis", "IN", "46220", "317", Tz::America__Indiana__Indianapolis),
    city("Chicago", "IL", "60614", "312", Tz::America__Chicago),
    city("Dallas", "TX", "75206", "214", Tz::America__Chicago),
    city("El Paso", "TX", "79902", "915", Tz::America__Denver),
    city("Denver", "CO", "80206", "303", Tz::America__Denver),
    city("Phoenix", "AZ", "85014", "602", Tz::America__Phoenix),
    city("Boise", "ID", "83702", "208", Tz::America__Boise),
    city("Los Angeles", "CA", "90027", "213", Tz::America__Los_Angeles),
    city("Seattle", "WA", "98115", "206", Tz::America__Los_Angeles),
    city("Anchorage", "AK", "99508", "907", Tz::America__Anchorage),
    city("Honolulu", "HI", "96816", "808", Tz::Pacific__Honolulu),
];

/// A language a patient speaks, by weight per mille: (BCP 47 tag, display). A little under 15% do not speak English.
pub(super) const LANGUAGES: &[(i64, (&str, &str))] = &[
    (560, ("en", "English")),
    (294, ("en-US", "English (United States)")),
    (70, ("es", "Spanish")),
    (22, ("zh", "Chinese")),
    (16, ("vi", "Vietnamese")),
    (11, ("pt", "Portuguese")),
    (9, ("ru", "Russian")),
    (7, ("ar", "Arabic")),
    (6, ("ht", "Haitian Creole")),
    (5, ("fr", "French")),
];

/// Clinicians: (given, family).
pub(super) const CLINICIANS: &[(&str, &str)] = &[
    ("Alice", "Whitfield"),
    ("Benjamin", "Osei"),
    ("Carmen", "Delgado"),
    ("Derek", "Lindqvist"),
    ("Eleni", "Papadakis"),
    ("Farid", "Rahimi"),
    ("Gloria", "Mensah"),
    ("Hiro", "Tanaka"),
    ("Ingrid", "Solberg"),
    ("Jamal", "Bennett"),
    ("Katarzyna", "Wójcik"),
    ("Leon", "Abrams"),
];
pub(super) const PLACES: &[&str] = &["Main Street Clinic", "Riverside Family Medicine", "North Campus, Suite 210", "Harbor Health Center"];

/// A kind of visit: (description, minutes, service-type code of R4, its display, visit type of HL7 v2 table 0276).
pub(super) const VISITS: &[(&str, i64, &str, &str, &str)] = &[
    ("Annual physical", 45, "124", "General Practice", "CHECKUP"),
    ("Follow-up visit", 20, "124", "General Practice", "FOLLOWUP"),
    ("Office visit", 30, "124", "General Practice", "ROUTINE"),
    ("Blood pressure check", 15, "124", "General Practice", "ROUTINE"),
    ("Diabetes review", 30, "124", "General Practice", "FOLLOWUP"),
    ("Medication review", 20, "124", "General Practice", "FOLLOWUP"),
];

/// Why a visit was cancelled (code system appointment-cancellation-reason): (code, display).
pub(super) const CANCELLATIONS: &[(i64, (&str, &str))] = &[
    (30, ("pat", "Patient")),
    (20, ("pat-crs", "Patient: Canceled via automated reminder system")),
    (12, ("pat-fb", "Patient: Feeling Better")),
    (8, ("pat-lt", "Patient: Lack of Transportation")),
    (20, ("prov", "Provider")),
    (10, ("oth-weath", "Other: Weather")),
];

/// A care plan's subject: (title, SNOMED CT code of the condition, its display, activities as (code, display)).
pub(super) type PlanKind = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);
pub(super) const PLANS: &[PlanKind] = &[
    (
        "Diabetes self-management plan",
        "73211009",
        "Diabetes mellitus",
        &[
            ("43396009", "Hemoglobin A1c measurement"),
            ("134395001", "Diabetic retinopathy screening"),
            ("61310001", "Nutrition education"),
            ("229065009", "Exercise therapy"),
        ],
    ),
    (
        "Hypertension care plan",
        "38341003",
        "Hypertensive disorder",
        &[("75367002", "Blood pressure taking"), ("61310001", "Nutrition education"), ("229065009", "Exercise therapy")],
    ),
    (
        "COPD care plan",
        "13645005",
        "Chronic obstructive lung disease",
        &[
            ("127783003", "Spirometry"),
            ("225323000", "Smoking cessation education"),
            ("86198006", "Administration of vaccine product containing only Influenza virus antigen"),
        ],
    ),
    (
        "Heart failure care plan",
        "84114007",
        "Heart failure",
        &[("75367002", "Blood pressure taking"), ("61310001", "Nutrition education"), ("229065009", "Exercise therapy")],
    ),
];
