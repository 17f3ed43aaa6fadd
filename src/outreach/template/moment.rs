//! A visit's date and time in words that a patient reads, in the template's language. The caller has moved them into the facility's zone.

use chrono::{Datelike, NaiveDate, NaiveTime, Timelike};

const DAYS_EN: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const DAYS_ES: [&str; 7] = ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"];
const MONTHS_EN: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const MONTHS_ES: [&str; 12] =
    ["enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"];

/// `Tuesday, December 1`; `martes 1 de diciembre`; ISO 8601 in a language whose words are not known here.
pub(super) fn date(date: NaiveDate, language: &str) -> String {
    let word = |list: &[&'static str], at: u32| usize::try_from(at).ok().and_then(|at| list.get(at)).copied().unwrap_or_default();
    let (weekday, month) = (date.weekday().num_days_from_monday(), date.month0());
    match primary(language) {
        "en" => format!("{}, {} {}", word(&DAYS_EN, weekday), word(&MONTHS_EN, month), date.day()),
        "es" => format!("{} {} de {}", word(&DAYS_ES, weekday), date.day(), word(&MONTHS_ES, month)),
        _ => date.to_string(),
    }
}

/// `3:30 PM`; `3:30 p. m.`; `15:30` elsewhere.
pub(super) fn time(time: NaiveTime, language: &str) -> String {
    let (afternoon, hour) = time.hour12();
    match primary(language) {
        "en" => format!("{hour}:{:02} {}", time.minute(), if afternoon { "PM" } else { "AM" }),
        "es" => format!("{hour}:{:02} {}", time.minute(), if afternoon { "p. m." } else { "a. m." }),
        _ => time.format("%H:%M").to_string(),
    }
}

fn primary(language: &str) -> &str {
    language.split('-').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_read_as_people_say_them() {
        let day = NaiveDate::from_ymd_opt(2026, 12, 1).unwrap();
        let at = |h, m| NaiveTime::from_hms_opt(h, m, 0).unwrap();
        for (language, wanted) in
            [("en", "Tuesday, December 1"), ("en-us", "Tuesday, December 1"), ("es", "martes 1 de diciembre"), ("ko", "2026-12-01")]
        {
            assert_eq!(date(day, language), wanted);
        }
        for (language, hour, minute, wanted) in [
            ("en", 0, 5, "12:05 AM"),
            ("en", 12, 0, "12:00 PM"),
            ("en", 15, 30, "3:30 PM"),
            ("es", 9, 0, "9:00 a. m."),
            ("es", 15, 30, "3:30 p. m."),
            ("ko", 15, 30, "15:30"),
        ] {
            assert_eq!(time(at(hour, minute), language), wanted);
        }
    }
}
