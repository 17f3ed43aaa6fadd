//! What stands in the way of care, by a patient's own words: phrases of a table, in English and Spanish, with the codes of
//! `CodeSystem/engagement-barrier`. No code rather than a wrong one: a question, a negation, an "if" or what is past names nothing, and what
//! the code system has no code for (feeling unwell, not being able to walk) is left to whoever reads the words. Pure.

use super::reply::{own_lines, words};

/// A barrier to care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Barrier {
    /// No way to get to the place of care.
    Transport,
    /// Cannot leave work for it.
    TimeOffWork,
    /// Has to care for a child or a relative.
    FamilyCare,
    /// Cannot afford it, or fears the cost.
    Cost,
    /// Cannot read or understand what is sent.
    Literacy,
    /// Is afraid of the visit, the treatment or the result.
    Fear,
    /// Suffers from side effects, or fears them.
    SideEffect,
    /// Needs another language or an interpreter.
    Language,
}

impl Barrier {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Transport, Self::TimeOffWork, Self::FamilyCare, Self::Cost, Self::Literacy, Self::Fear, Self::SideEffect, Self::Language];

    /// Its code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::TimeOffWork => "time-off-work",
            Self::FamilyCare => "family-care",
            Self::Cost => "cost",
            Self::Literacy => "literacy",
            Self::Fear => "fear",
            Self::SideEffect => "side-effect",
            Self::Language => "language",
        }
    }

    /// The barrier of that code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|b| b.as_str() == code)
    }

    /// Phrases that name it. `a|b` is either word, `?a` one that may be missing, `^` the beginning and `$` the end of a clause; `KIN`, `CARE`
    /// and `LANGUAGE` are words of the lists below.
    const fn phrases(self) -> &'static [&'static str] {
        match self {
            Self::Transport => TRANSPORT,
            Self::TimeOffWork => TIME_OFF_WORK,
            Self::FamilyCare => FAMILY_CARE,
            Self::Cost => COST,
            Self::Literacy => LITERACY,
            Self::Fear => FEAR,
            Self::SideEffect => SIDE_EFFECT,
            Self::Language => LANGUAGE,
        }
    }
}

const TRANSPORT: &[&str] = &[
    "^ no ride|transportation|transport",
    "have|got no ride|transportation|transport|car",
    "dont have a|any ride|transportation|transport|car",
    "dont have ride|transportation|transport",
    "do not have a|any ride|transportation|transport|car",
    "do not have transportation|transport",
    "cant|cannot get|find a ride",
    "can not get|find a ride",
    "i need a ride",
    "no way to get there|to",
    "no way of getting there|to",
    "ride fell through",
    "car broke down",
    "car wont start",
    "car|cars ?is in the shop",
    "^ sin transporte|carro|coche",
    "no tengo transporte|carro|coche",
    "no tengo como llegar|ir",
    "no tengo manera|forma de llegar|ir",
    "no tengo quien me lleve",
    "necesito transporte",
    "mi carro|coche se descompuso",
];
const TIME_OFF_WORK: &[&str] = &[
    "cant|cannot get off work",
    "cant|cannot get|take ?any time off",
    "can not get|take ?any time off",
    "cant|cannot leave|miss work",
    "have|got to work $",
    "have|got to work that|this day|week|morning|afternoon",
    "have|got to work today|tomorrow|then",
    "boss|job|work|employer wont let me",
    "boss|job|work|employer will not let me",
    "no puedo faltar al trabajo",
    "no puedo salir del trabajo",
    "no puedo dejar el trabajo",
    "no puedo pedir permiso en el trabajo",
    "tengo que trabajar $",
    "tengo que trabajar ese|hoy|manana",
    "no me dan permiso en el trabajo",
    "mi jefe|jefa|patron no me deja|da",
];
const FAMILY_CARE: &[&str] = &[
    "noone|nobody to watch|mind my|the|our KIN",
    "no one to watch|mind my|the|our KIN",
    "noone|nobody to take care of my|the|our KIN",
    "no one to take care of my|the|our KIN",
    "have to watch|mind my|our KIN",
    "have to take care of my|our KIN",
    "have to care for my|our KIN",
    "have|got no babysitter|sitter|childcare",
    "^ no babysitter|sitter|childcare",
    "have|got no child care",
    "dont have a babysitter|sitter",
    "dont have childcare",
    "dont have child care",
    "cant|cannot find|get a babysitter|sitter",
    "no tengo quien cuide|vea ?a mi|mis|los|las KIN",
    "no tengo quien me cuide ?a mi|mis|los|las|al KIN",
    "no tengo con quien dejar a mi|mis|los|las KIN",
    "no tengo con quien dejar al KIN",
    "tengo que cuidar ?a mi|mis|los|las KIN",
    "no tengo ninera",
];
const COST: &[&str] = &[
    "cant|cannot afford $",
    "cant|cannot afford it|this|that",
    "cant|cannot afford the|my visit|appointment|copay|bill|medicine|medication|treatment|pills|test|bus|fare|gas",
    "cant|cannot afford to pay|come|go",
    "can not afford it|this|that|to pay|come|go",
    "is|its|are too expensive",
    "costs|cost too much",
    "dont have the|any money",
    "do not have the|any money",
    "have no money",
    "cant|cannot pay for it|this|that|the",
    "afraid|scared|worried of|about the cost|bill|price",
    "es|esta muy|demasiado caro|cara",
    "no puedo pagar",
    "no tengo ?el dinero",
    "no me alcanza el dinero",
    "no me alcanza para pagar",
    "cuesta mucho dinero",
];
const LITERACY: &[&str] = &[
    "i cant|cannot read ?well $",
    "cant|cannot read or write",
    "dont know how to read",
    "do not know how to read",
    "never learned to read",
    "no se leer",
    "no aprendi a leer",
];
const FEAR: &[&str] = &[
    "afraid|scared|terrified|frightened of ?the|my|a CARE",
    "afraid|scared|terrified|frightened of going to the|a CARE",
    "afraid|scared|terrified|frightened to come ?in $",
    "afraid|scared|terrified|frightened to go $",
    "afraid|scared|terrified|frightened to go to the CARE",
    "afraid|scared what they|you will find",
    "i am so|too|really|very scared|frightened|afraid $",
    "im so|too|really|very scared|frightened|afraid $",
    "^ im scared $",
    "^ i am scared $",
    "miedo a|al|de|del ?la|las|los|el|lo ?que CARE",
    "me da|dan ?mucho miedo ?la|las|los|el CARE",
    "me da ?mucho miedo $",
    "me da ?mucho miedo ir|venir $",
    "tengo ?mucho miedo $",
    "tengo ?mucho miedo de|a ir|venir $",
];
const SIDE_EFFECT: &[&str] = &[
    "because of ?the side effects",
    "i have|get ?bad|terrible|some|these side effects",
    "having|getting ?bad|terrible|some|these side effects",
    "afraid|scared|worried of|about ?the side effects",
    "pills|pill|medicine|medication|meds make|makes me sick|dizzy|nauseous",
    "por los efectos secundarios",
    "tengo ?muchos efectos secundarios",
    "miedo a|de los efectos secundarios",
    "medicina|medicamento|pastilla|pastillas me cae|caen|hace|hacen mal|dano",
];
const LANGUAGE: &[&str] = &[
    "dont|cant|cannot speak|understand ?much|good|any english",
    "do|can not speak|understand ?much|good|any english",
    "speak|understand no|little english",
    "only speak LANGUAGE",
    "speak only LANGUAGE",
    "speak LANGUAGE only",
    "i|we|will need|needs ?a|an interpreter|translator",
    "no hablo|entiendo|comprendo ?mucho|bien ?el ingles",
    "solo|solamente|unicamente hablo LANGUAGE",
    "hablo solo|solamente|unicamente LANGUAGE",
    "necesito ?un|una interprete|traductor|traductora",
];

const KIN: &[&str] = &[
    "kid",
    "kids",
    "child",
    "children",
    "son",
    "sons",
    "daughter",
    "daughters",
    "baby",
    "babies",
    "toddler",
    "grandson",
    "granddaughter",
    "grandkids",
    "grandchildren",
    "mother",
    "mom",
    "mum",
    "father",
    "dad",
    "parents",
    "husband",
    "wife",
    "partner",
    "brother",
    "sister",
    "grandmother",
    "grandma",
    "grandfather",
    "grandpa",
    "hijo",
    "hija",
    "hijos",
    "hijas",
    "nino",
    "nina",
    "ninos",
    "ninas",
    "bebe",
    "nieto",
    "nieta",
    "nietos",
    "nietas",
    "mama",
    "madre",
    "papa",
    "padre",
    "padres",
    "papas",
    "esposo",
    "esposa",
    "marido",
    "hermano",
    "hermana",
    "abuela",
    "abuelo",
];
const CARE: &[&str] = &[
    "needle",
    "needles",
    "shot",
    "shots",
    "injection",
    "injections",
    "doctor",
    "doctors",
    "dentist",
    "hospital",
    "hospitals",
    "surgery",
    "operation",
    "procedure",
    "treatment",
    "test",
    "tests",
    "result",
    "results",
    "visit",
    "appointment",
    "exam",
    "anesthesia",
    "chemotherapy",
    "chemo",
    "radiation",
    "blood",
    "pain",
    "aguja",
    "agujas",
    "inyeccion",
    "inyecciones",
    "vacuna",
    "vacunas",
    "doctores",
    "medico",
    "medicos",
    "dentista",
    "hospitales",
    "cirugia",
    "operacion",
    "procedimiento",
    "tratamiento",
    "prueba",
    "pruebas",
    "examen",
    "examenes",
    "resultado",
    "resultados",
    "cita",
    "anestesia",
    "quimioterapia",
    "radiacion",
    "sangre",
    "dolor",
];
const LANGUAGES: &[&str] = &[
    "spanish",
    "mandarin",
    "cantonese",
    "chinese",
    "vietnamese",
    "tagalog",
    "korean",
    "russian",
    "arabic",
    "french",
    "portuguese",
    "haitian",
    "creole",
    "somali",
    "polish",
    "hmong",
    "armenian",
    "farsi",
    "urdu",
    "hindi",
    "espanol",
    "mixteco",
    "nahuatl",
    "maya",
];

/// Up to two words before a phrase that take it back, put it in doubt or say that it is past.
const TAKEN_BACK: &[&str] = &[
    "not", "dont", "doesnt", "didnt", "isnt", "wasnt", "arent", "wont", "never", "no", "longer", "nobody", "if", "unless", "had", "was",
    "used", "when", "whether", "nunca", "ya", "si", "cuando", "tenia", "tuve", "tampoco",
];
/// Words after a phrase that make it mean something else: "no transport needed", "no car insurance", "afraid to go ahead".
const TURNED: &[&str] = &[
    "needed",
    "necessary",
    "required",
    "problem",
    "problems",
    "issue",
    "issues",
    "trouble",
    "seat",
    "insurance",
    "payment",
    "anymore",
    "ahead",
    "before",
    "necesario",
    "problema",
    "problemas",
];

/// The barrier that a patient's own words name, the first one of several; `None` where they name none, or not clearly.
#[must_use]
pub fn named(text: &str) -> Option<Barrier> {
    own_lines(text).flat_map(clauses).find_map(|clause| in_clause(&clause))
}

/// The clauses of a line as words, without those that ask.
fn clauses(line: &str) -> impl Iterator<Item = Vec<String>> {
    let parts = line.split_inclusive(['.', ',', ';', ':', '!', '?', '(', ')']);
    parts.filter(|part| !part.ends_with('?')).map(|part| words(part).collect())
}

fn in_clause(words: &[String]) -> Option<Barrier> {
    (0..words.len()).find_map(|at| Barrier::ALL.into_iter().find(|barrier| barrier.phrases().iter().any(|p| stands(words, at, p))))
}

/// Whether a phrase begins at this word, and means what it says.
fn stands(words: &[String], at: usize, phrase: &str) -> bool {
    let parts: Vec<&str> = phrase.split(' ').collect();
    let parts = match parts.split_first() {
        Some((&"^", _)) if at > 0 => return false,
        Some((&"^", rest)) => rest,
        _ => parts.as_slice(),
    };
    let rest = words.get(at..).unwrap_or_default();
    let before = words.get(at.saturating_sub(2)..at).unwrap_or_default();
    let is_in = |list: &[&str], word: &String| list.contains(&word.as_str());
    !before.iter().any(|word| is_in(TAKEN_BACK, word))
        && end(rest, parts).is_some_and(|after| !rest.get(after).is_some_and(|word| is_in(TURNED, word)))
}

/// How many words the parts of a phrase take up.
fn end(words: &[String], parts: &[&str]) -> Option<usize> {
    let Some((part, later)) = parts.split_first() else { return Some(0) };
    if *part == "$" {
        return words.is_empty().then_some(0);
    }
    let (optional, part) = part.strip_prefix('?').map_or((false, *part), |part| (true, part));
    let fits = |word: &str| match part {
        "KIN" => KIN.contains(&word),
        "CARE" => CARE.contains(&word),
        "LANGUAGE" => LANGUAGES.contains(&word),
        part => part.split('|').any(|p| p == word),
    };
    let taken = words.split_first().filter(|(word, _)| fits(word)).and_then(|(_, rest)| end(rest, later)).map(|n| n + 1);
    taken.or_else(|| if optional { end(words, later) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_clearly_has_a_code() {
        use Barrier::{Cost, FamilyCare, Fear, Language, Literacy, SideEffect, TimeOffWork, Transport};
        for (text, wanted) in [
            ("I have no ride on Tuesday", Transport),
            ("No ride", Transport),
            ("Sorry, I don't have a car.", Transport),
            ("I don’t have transportation", Transport),
            ("my car broke down", Transport),
            ("I have no way to get there", Transport),
            ("Yes but I need a ride", Transport),
            ("No tengo transporte", Transport),
            ("Sí, no tengo cómo llegar", Transport),
            ("No tengo quien me lleve", Transport),
            ("I can't get off work", TimeOffWork),
            ("I have to work that day", TimeOffWork),
            ("Can't come, have to work", TimeOffWork),
            ("My boss won't let me", TimeOffWork),
            ("Tengo que trabajar ese día", TimeOffWork),
            ("no puedo faltar al trabajo", TimeOffWork),
            ("I have no one to watch my kids", FamilyCare),
            ("I have to take care of my mother", FamilyCare),
            ("can't find a babysitter", FamilyCare),
            ("No tengo con quién dejar a mis niños", FamilyCare),
            ("tengo que cuidar a mi mamá", FamilyCare),
            ("I can't afford it", Cost),
            ("It's too expensive!", Cost),
            ("I am worried about the cost", Cost),
            ("I can't afford to pay", Cost),
            ("Es muy caro", Cost),
            ("no tengo dinero", Cost),
            ("I can't read", Literacy),
            ("No sé leer", Literacy),
            ("I'm afraid of needles", Fear),
            ("I am scared of the results", Fear),
            ("I'm really scared", Fear),
            ("Tengo miedo a la cirugía", Fear),
            ("me da miedo el dentista", Fear),
            ("I stopped because of the side effects", SideEffect),
            ("the pills make me dizzy", SideEffect),
            ("Por los efectos secundarios", SideEffect),
            ("I don't speak English", Language),
            ("I need an interpreter", Language),
            ("we only speak Vietnamese", Language),
            ("No hablo inglés", Language),
            ("necesito un intérprete", Language),
            // Several: the first.
            ("I have no ride and I can't afford it", Transport),
            ("I can't afford it and I have no ride", Cost),
            ("I have no ride, can you help?", Transport),
        ] {
            assert_eq!(named(text), Some(wanted), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_clear_has_none() {
        for text in [
            "",
            "C",
            "STOP",
            "Yes, see you then",
            "I have a ride",
            "My ride is here",
            "no ride needed",
            "I do not need a ride",
            "if I have no ride I will call",
            "I had no car back then",
            "I have no car insurance",
            "I don't have a car seat for the baby",
            "Do I need a ride?",
            "How do I get there?",
            "Is it too expensive?",
            "What does it cost?",
            "it is not too expensive",
            "I can't afford to miss it",
            "I can't afford the time",
            "I have to work on my diet",
            "The link does not work",
            "I work at the school",
            "I have to take care of my teeth",
            "My kids are fine",
            "I'm afraid I can't make it",
            "I'm afraid so",
            "I am not afraid of needles anymore",
            "I was scared of the dentist",
            "I'm scared of losing my job",
            "I am afraid to go to work",
            "me da miedo que llueva",
            "I feel sick",
            "I am too ill to come",
            "I can't walk",
            "I am in a wheelchair",
            "I can't read the link",
            "I had no side effects",
            "no side effects",
            "Do you have an interpreter?",
            "I don't need an interpreter",
            "I speak English",
            "me cuesta mucho levantarme",
            "Si no tengo carro les aviso",
            "ya no tengo miedo a las agujas",
            "no es muy caro",
            "¿Es muy caro?",
            "Ya no necesito transporte",
            "me siento mal",
            "no puedo caminar",
            "ok\n> I have no ride",
            "Yes\n\nOn Mon, 23 Nov 2026, Main Street Clinic wrote:\nNo ride? Call us.",
        ] {
            assert_eq!(named(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_codes_are_those_of_the_code_system() {
        let system: serde_json::Value =
            serde_json::from_str(include_str!("../../fhir-profiles/CodeSystem-engagement-barrier.json")).unwrap();
        let codes: Vec<&str> = system["concept"].as_array().unwrap().iter().map(|c| c["code"].as_str().unwrap()).collect();
        assert_eq!(Barrier::ALL.map(Barrier::as_str).as_slice(), codes);
        assert_eq!(Barrier::ALL.map(|b| Barrier::parse(b.as_str())), Barrier::ALL.map(Some));
        assert_eq!(Barrier::parse("mobility"), None);
    }
}
