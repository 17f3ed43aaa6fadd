//! How easy a text is to read, as a US school grade. English: Flesch-Kincaid grade level (Kincaid et al. 1975). Spanish: the reading
//! ease of Fernández Huerta (1959) with its own bands of grades. Syllables are counted by rule, so a grade is an estimate; what is no
//! word (numbers, links, addresses) does not count.

/// Sentences, words and syllables of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    sentences: u32,
    words: u32,
    syllables: u32,
}

/// The school grade at which the text can be read; `None` for a language without a measure here, or a text without words.
#[must_use]
pub fn grade(text: &str, language: &str) -> Option<f64> {
    let syllables: fn(&str) -> u32 = match language.split('-').next().unwrap_or_default() {
        "en" => english_syllables,
        "es" => spanish_syllables,
        _ => return None,
    };
    let counts = count(text, syllables);
    if counts.words == 0 {
        return None;
    }
    let (words, sentences) = (f64::from(counts.words), f64::from(counts.sentences.max(1)));
    let per_sentence = words / sentences;
    let per_word = f64::from(counts.syllables) / words;
    if language.starts_with("en") {
        return Some((0.39 * per_sentence + 11.8 * per_word - 15.59).max(0.0));
    }
    Some(grade_of_ease(206.84 - 60.0 * per_word - 1.02 * per_sentence))
}

/// Fernández Huerta's bands: 90 and more is the 4th grade, then one grade per ten points down to the 6th at 70; 60 is 8th, 50 is 12th,
/// less is beyond school. Between the bands' ends the grade is interpolated.
fn grade_of_ease(ease: f64) -> f64 {
    const BANDS: [(f64, f64); 6] = [(100.0, 3.0), (90.0, 4.0), (80.0, 5.0), (70.0, 6.0), (60.0, 8.0), (50.0, 12.0)];
    let pairs = BANDS.iter().zip(BANDS.iter().skip(1));
    pairs
        .into_iter()
        .find(|((high, _), (low, _))| (*low..=*high).contains(&ease))
        .map_or(if ease > 100.0 { 3.0 } else { 13.0 }, |((high, from), (low, to))| from + (high - ease) / (high - low) * (to - from))
}

fn count(text: &str, syllables: fn(&str) -> u32) -> Counts {
    let mut counts = Counts::default();
    for line in text.lines() {
        let mut open = false;
        for token in line.split_whitespace() {
            let ends = token.trim_end_matches(['"', '\'', ')', '”']).ends_with(['.', '!', '?', ':']);
            let abbreviated = matches!(token.to_lowercase().as_str(), "a.m." | "p.m." | "a." | "p." | "m." | "dr." | "dra.");
            if !token.contains("://") && !token.contains('@') {
                for word in
                    token.split(|c: char| !c.is_alphabetic() && c != '\'' && c != '’').filter(|w| w.chars().any(char::is_alphabetic))
                {
                    counts.words += 1;
                    counts.syllables += syllables(&word.to_lowercase()).max(1);
                    open = true;
                }
            }
            if ends && !abbreviated && open {
                counts.sentences += 1;
                open = false;
            }
        }
        // A line is a sentence of its own: greetings and list items have no full stop.
        counts.sentences += u32::from(open);
    }
    counts
}

/// Groups of vowels, without a silent final `e` or `ed`.
fn english_syllables(word: &str) -> u32 {
    let letters: Vec<char> = word.chars().filter(|c| c.is_alphabetic()).collect();
    let vowel = |c: &char| "aeiouy".contains(*c);
    let mut groups = 0;
    let mut before = false;
    for c in &letters {
        let now = vowel(c);
        groups += u32::from(now && !before);
        before = now;
    }
    let text: String = letters.iter().collect();
    let consonant_then = |end: &str| text.strip_suffix(end).and_then(|stem| stem.chars().last()).is_some_and(|c| !vowel(&c));
    let silent_e = consonant_then("e")
        && !(text.ends_with("le") && text.strip_suffix("le").and_then(|s| s.chars().last()).is_some_and(|c| !vowel(&c)));
    let silent_ed = consonant_then("ed") && !text.ends_with("ted") && !text.ends_with("ded");
    // "i" before another vowel is often a syllable of its own, except in endings such as "-tion".
    let hiatus = ["ia", "io", "iu", "ea", "eo"].iter().any(|pair| match *pair {
        "ia" | "iu" => text.contains(pair) && !text.contains("cia") && !text.contains("tia"),
        "io" => text.contains("io") && !text.contains("tion") && !text.contains("sion") && !text.contains("cio"),
        "eo" => text.contains("eo") && !text.contains("peop"),
        _ => text.contains("area") || text.contains("idea") || text.contains("create"),
    });
    if groups > 1 && (silent_e || silent_ed) { groups - 1 + u32::from(hiatus) } else { groups + u32::from(hiatus) }
}

/// Groups of vowels, split between two strong ones and at an accented weak one; the `u` of `que`, `qui`, `gue`, `gui` is silent.
fn spanish_syllables(word: &str) -> u32 {
    let word = word.replace("que", "ke").replace("qui", "ki").replace("gue", "ge").replace("gui", "gi").replace("qué", "ké");
    let kind = |c: char| match c {
        'a' | 'e' | 'o' | 'á' | 'é' | 'ó' => Some(true),
        // An accented weak vowel stands for itself, like a strong one.
        'í' | 'ú' => Some(true),
        'i' | 'u' | 'ü' => Some(false),
        _ => None,
    };
    let letters: Vec<char> = word.chars().collect();
    let mut syllables = 0;
    let mut last: Option<bool> = None;
    for (at, c) in letters.iter().enumerate() {
        // "y" is a vowel at the end of a word only.
        let now = if *c == 'y' && at + 1 == letters.len() { Some(false) } else { kind(*c) };
        syllables += match (last, now) {
            (None, Some(_)) | (Some(true), Some(true)) => 1,
            _ => 0,
        };
        last = now;
    }
    syllables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syllables_of_known_words() {
        for (word, wanted) in [
            ("call", 1),
            ("visit", 2),
            ("appointment", 3),
            ("please", 1),
            ("confirm", 2),
            ("table", 2),
            ("needed", 2),
            ("called", 1),
            ("instructions", 3),
            ("medication", 4),
            ("people", 2),
        ] {
            assert_eq!(english_syllables(word), wanted, "{word}");
        }
        for (word, wanted) in [
            ("cita", 2),
            ("llame", 2),
            ("día", 2),
            ("usted", 2),
            ("clínica", 3),
            ("diciembre", 3),
            ("que", 1),
            ("responda", 3),
            ("leer", 2),
            ("hoy", 1),
            ("mensajes", 3),
        ] {
            assert_eq!(spanish_syllables(word), wanted, "{word}");
        }
    }

    #[test]
    fn plain_text_is_easy_and_bureaucratic_text_is_not() {
        let plain = grade("Hello Ana,\nYou have a visit on Tuesday at 3:30 PM.\nReply C to confirm.", "en").unwrap();
        let stiff = grade(
            "Your attendance at the aforementioned consultation necessitates confirmation prior to commencement of preparatory procedures.",
            "en",
        )
        .unwrap();
        assert!(plain < 6.0, "{plain}");
        assert!(stiff > 12.0, "{stiff}");
        let llano = grade("Hola Ana:\nUsted tiene una cita el martes a las 3:30 p. m.\nResponda C para confirmar.", "es").unwrap();
        let burocratico = grade(
            "La comparecencia del interesado en las dependencias administrativas correspondientes requiere confirmación previa e inexcusable por los procedimientos establecidos reglamentariamente.",
            "es",
        )
        .unwrap();
        assert!(llano <= 6.0, "{llano}");
        assert!(burocratico > 12.0, "{burocratico}");
        assert_eq!(grade("안녕하세요", "ko"), None);
        assert_eq!(grade("555-0100", "en"), None);
    }

    #[test]
    fn the_bands_of_fernandez_huerta() {
        for (ease, wanted) in [(120.0, 3.0), (95.0, 3.5), (90.0, 4.0), (75.0, 5.5), (70.0, 6.0), (65.0, 7.0), (55.0, 10.0), (20.0, 13.0)] {
            assert!((grade_of_ease(ease) - wanted).abs() < 1e-9, "{ease}");
        }
    }
}
